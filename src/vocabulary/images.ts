/** The sort orders and the limits of the lists of tags and images. */

/** `version` means the highest version first, and then all tags that are not versions, by name. */
export const TAG_ORDERS = ['newest', 'oldest', 'name', 'version'] as const;
export type TagOrder = (typeof TAG_ORDERS)[number];

/** The maximum number of tags in a repository whose tags can be sorted by version. */
export const SORTED_VERSIONS_MAX = 1000;

/** The maximum number of tags that one request with a filter compares. */
export const SCANNED_TAGS_MAX = 5000;

/** The maximum number of tags of signatures and attestations that are counted for the list of tags. */
export const ATTACHED_TAGS_MAX = 20;

/** The default and the maximum number of items on one page of tags or images. */
export const IMAGES_DEFAULT = 50;
export const IMAGES_MAX = 100;

/** The maximum number of characters of a filter. A tag has the same limit. */
export const FILTER_MAX = 128;

/** Tags and images that one request deletes, and manifests that go with them because nothing else holds them. */
export const DELETED_TAGS_MAX = 100;
export const DELETED_IMAGES_MAX = 50;
export const DELETED_MANIFESTS_MAX = 200;

/** Manifests that one request for untagged images looks at. */
export const SCANNED_IMAGES_MAX = 2000;

/** Manifests of a repository that are counted for a layer that they share. */
export const SHARED_MAX = 10;

/** Bytes of a config that is read for the page of an image. */
export const CONFIG_MAX_BYTES = 1024 * 1024;

/** Bytes of content attached to an image, such as an SBOM, that is shown. */
export const ATTACHMENT_MAX_BYTES = 1024 * 1024;
