/** Platforms of an image as text, and in addresses. */
import type { ManifestFacts } from '../../../app/images.ts';

export type Platform = NonNullable<ManifestFacts['platforms']>[number];

/** `linux/arm64/v8`; with the version of the system where that tells platforms apart, as for Windows. */
export function platformText({ os, architecture, variant, osVersion }: Platform): string {
  const text = [os, architecture, variant].filter(Boolean).join('/');
  if (text === '') return 'any platform';
  return osVersion ? `${text} ${osVersion}` : text;
}

/** The platform that is asked for; without one, `linux/amd64` or the first one. `null`: there is none of this name. */
export function platformWanted(platforms: readonly Platform[], wanted: string | undefined): Platform | null {
  if (wanted !== undefined && wanted !== '') {
    return platforms.find((platform) => platformText(platform) === wanted || platform.digest === wanted) ?? null;
  }
  return platforms.find((platform) => platformText(platform) === 'linux/amd64') ?? platforms[0] ?? null;
}
