/** What the parts of the page of an image are made of. */
import type { WholeImageDetails } from '../../../app/images.ts';
import type { Repository } from '../../../app/repositories.ts';
import type { Reference } from '../../../oci/reference.ts';
import type { RequestContext } from '../../context.ts';
import type { Platform } from '../parts/platform.ts';

export interface ImageProps {
  c: RequestContext;
  repository: Repository;
  reference: Reference;
  image: WholeImageDetails;
  /** The platform of an index that is shown, and its image. */
  platform: Platform | null;
  part: WholeImageDetails | null;
}
