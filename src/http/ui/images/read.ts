/** Reads an image for a page. If the image has several platforms, also reads the image of one platform. */
import { getWholeImage, type WholeImageDetails } from '../../../app/images.ts';
import type { Digest } from '../../../oci/digest.ts';
import type { Reference } from '../../../oci/reference.ts';
import { isRefusal } from '../../../vocabulary/refusal.ts';
import { callOf, type RequestContext, repositoryIn } from '../../context.ts';
import { type Platform, platformWanted } from '../parts/platform.ts';

export interface ReadImage {
  image: WholeImageDetails;
  /** The platform that is shown, if the image is an index, and the image for that platform. */
  platform: Platform | null;
  part: WholeImageDetails | null;
}

/** @throws manifest-unknown */
export async function readImage(c: RequestContext, reference: Reference, wanted: string | undefined): Promise<ReadImage> {
  const image = await getWholeImage(callOf(c), repositoryIn(c), reference);
  const platform = image.kind === 'index' ? platformWanted(image.platforms ?? [], wanted) : null;
  return { image, platform, part: platform === null ? null : await readPart(c, platform.digest) };
}

/** Returns the image of one platform, or `null` if the repository does not contain the image although the index lists it. */
async function readPart(c: RequestContext, digest: Digest): Promise<WholeImageDetails | null> {
  try {
    return await getWholeImage(callOf(c), repositoryIn(c), { digest });
  } catch (error) {
    if (!isRefusal(error, 'manifest-unknown')) throw error;
    return null;
  }
}
