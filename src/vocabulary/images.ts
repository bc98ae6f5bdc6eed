/** The sort orders of lists of tags and images, and the limits of these lists. */

/** `version` sorts by version, the highest first. Tags that are not versions follow, by name. */
export const TAG_ORDERS = ['newest', 'oldest', 'name', 'version'] as const;
export type TagOrder = (typeof TAG_ORDERS)[number];

/** The maximum number of tags in a repository that can be sorted by version. */
export const SORTED_VERSIONS_MAX = 1000;

/** The maximum number of tags that a request with a filter reads. */
export const SCANNED_TAGS_MAX = 5000;

/** The maximum number of tags of signatures and attestations that are counted for the list of tags. */
export const ATTACHED_TAGS_MAX = 20;

/** The default and the maximum number of items on one page of tags or images. */
export const IMAGES_DEFAULT = 50;
export const IMAGES_MAX = 100;

/** The maximum number of characters of a filter. A tag has the same limit. */
export const FILTER_MAX = 128;

/**
 * The maximum number of tags, and of images, that one request may name for deletion. `DELETED_MANIFESTS_MAX` also includes the
 * manifests that are deleted with them because nothing else needs them.
 */
export const DELETED_TAGS_MAX = 100;
export const DELETED_IMAGES_MAX = 50;
export const DELETED_MANIFESTS_MAX = 200;

/** The maximum number of manifests that a request for untagged images reads. */
export const SCANNED_IMAGES_MAX = 2000;

/** The number up to which the manifests that share a layer are counted. */
export const SHARED_MAX = 10;

/** The maximum number of bytes of a config that is read for the page of an image. */
export const CONFIG_MAX_BYTES = 1024 * 1024;

/** The maximum number of bytes of attached content, such as an SBOM, that is shown. */
export const ATTACHMENT_MAX_BYTES = 1024 * 1024;

/** Changed files that one answer or page shows, and the maximum number of characters of a filter for their paths. */
export const FILE_CHANGES_SHOWN_MAX = 500;
export const FILE_FILTER_MAX = 255;
