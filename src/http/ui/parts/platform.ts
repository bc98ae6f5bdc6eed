/** The platforms of an image, as text and in addresses. */
import type { ManifestFacts } from '../../../app/images.ts';

export type Platform = NonNullable<ManifestFacts['platforms']>[number];

/** Returns for example `linux/arm64/v8`. For systems such as Windows, whose images differ by version, adds the version. */
export function platformText({ os, architecture, variant, osVersion }: Platform): string {
  const text = [os, architecture, variant].filter(Boolean).join('/');
  if (text === '') return 'any platform';
  return osVersion ? `${text} ${osVersion}` : text;
}

/**
 * Returns the wanted platform. If none is wanted, returns `linux/amd64` or the first one. Returns `null` if the image does not
 * have the wanted platform.
 */
export function platformWanted(platforms: readonly Platform[], wanted: string | undefined): Platform | null {
  if (wanted !== undefined && wanted !== '') {
    return platforms.find((platform) => platformText(platform) === wanted || platform.digest === wanted) ?? null;
  }
  return platforms.find((platform) => platformText(platform) === 'linux/amd64') ?? platforms[0] ?? null;
}
