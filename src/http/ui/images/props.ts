/** What the parts of the page of an image are made of. */
import type { Repository } from '../../../app/repositories.ts';
import type { Reference } from '../../../oci/reference.ts';
import type { RequestContext } from '../../context.ts';
import type { ReadImage } from './read.ts';

export interface ImageProps extends ReadImage {
  c: RequestContext;
  repository: Repository;
  reference: Reference;
}
