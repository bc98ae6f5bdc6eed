/** What the reference says about the routes in `../images.ts`. */

import { fileChanges, imageDetails, imageSummary, tagDetails } from '../../../contract/answers/images.ts';
import { pageSchema } from '../../../contract/pages.ts';
import { SAMPLE_DIGEST } from '../samples.ts';
import { DELETED, DISABLED, HEADER, IMMUTABLE, TRASH, UNKNOWN, UNMET } from './deletion-answers.ts';
import type { Reference } from './described.ts';

const REPOSITORY_UNKNOWN = 'You may pull a repository of this name, and there is none';

export const images: Reference = {
  'GET /repositories/:name{.+}/-/tags': {
    group: 'Tags',
    summary: 'List the tags of a repository, with what they name',
    description:
      'Filters and sorts over all tags. Attestations are counted with the image that they belong to, and are never listed ' +
      'as platforms. The end is where `next` is null.',
    example: { query: { sort: 'name' } },
    refusals: {
      'repository-unknown': REPOSITORY_UNKNOWN,
      'too-much-work': 'There are too many tags to sort them by version',
    },
    answers: { 200: { description: 'A page of tags', schema: pageSchema(tagDetails) } },
  },
  'GET /repositories/:name{.+}/-/images': {
    group: 'Images',
    summary: 'List the images of a repository',
    description:
      'All manifests: images, indexes and what they list, signatures and other artifacts. They are sorted by digest, as ' +
      'they are stored, so that a page reads no other rows. Tags can be sorted by time. The end is where `next` is null.',
    refusals: { 'repository-unknown': REPOSITORY_UNKNOWN },
    answers: { 200: { description: 'A page of images', schema: pageSchema(imageSummary) } },
  },
  'GET /repositories/:name{.+}/-/images/:digest': {
    group: 'Images',
    summary: 'Read an image in full',
    description:
      'By digest, or by tag. Bytes and shared layers are counted within the repository: what other repositories hold is ' +
      'told to nobody here.',
    refusals: { 'manifest-unknown': 'There is no such image or tag', 'digest-invalid': 'The digest is malformed' },
    answers: { 200: { description: 'The image', schema: imageDetails } },
  },
  'GET /repositories/:name{.+}/-/file-changes': {
    group: 'Images',
    summary: 'Compare the files of two images',
    description:
      'Which files the second image adds, removes and changes, with the whiteouts of its layers applied. The archives of the ' +
      'layers are read, up to `LAYER_FILES_BYTES` in one request. Contents are not compared: a file is the same if its kind, ' +
      'size, permissions and time are.',
    example: { query: { from: 'v1', to: SAMPLE_DIGEST } },
    refusals: { 'manifest-unknown': 'There is no such image or tag', 'digest-invalid': 'A digest is malformed' },
    answers: { 200: { description: 'The files that differ', schema: fileChanges } },
  },
  'DELETE /repositories/:name{.+}/-/images/:digest': {
    group: 'Images',
    summary: 'Delete an image, with its tags',
    description:
      'Signatures and the like that are attached to it by a tag are deleted with it. Refused while an index lists the ' +
      `image, and if one of its tags is immutable. ${TRASH}`,
    refusals: {
      'digest-invalid': 'The digest is malformed',
      'manifest-unknown': UNKNOWN,
      'content-referenced': 'An index lists the image',
      'tag-immutable': IMMUTABLE,
      'condition-failed': UNMET,
      'parameter-invalid': HEADER,
      'deletion-disabled': DISABLED,
    },
    answers: DELETED,
  },
};
