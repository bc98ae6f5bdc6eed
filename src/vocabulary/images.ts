/** Lists of tags and images: their orders and limits. */

/** `version`: the highest version first, then the other tags by name. */
export const TAG_ORDERS = ['newest', 'oldest', 'name', 'version'] as const;
export type TagOrder = (typeof TAG_ORDERS)[number];

/** Tags of a repository up to which they can be sorted by version. */
export const SORTED_VERSIONS_MAX = 1000;

/** Tags that one request with a filter looks at. */
export const SCANNED_TAGS_MAX = 5000;

/** Items of a page of tags or images. */
export const IMAGES_DEFAULT = 50;
export const IMAGES_MAX = 100;

/** Characters of a filter: those of the longest tag. */
export const FILTER_MAX = 128;
