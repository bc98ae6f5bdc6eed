/** The types of the data that the parts of an image's page share. */
import type { Repository } from '../../../app/repositories.ts';
import type { Reference } from '../../../oci/reference.ts';
import type { RequestContext } from '../../context.ts';
import type { ReadImage } from './read.ts';

export interface ImageProps extends ReadImage {
  c: RequestContext;
  repository: Repository;
  reference: Reference;
}
