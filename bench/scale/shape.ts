/** The shape of the databases: how many rows of each kind they have. */

export interface Shape {
  organizations: number;
  /** The number of all repositories, and of those in the organization `big`. */
  repositories: number;
  ofBig: number;
  /**
   * The number of tags of the repository `big/tags`. Each tag names an image of its own. Every other repository has one tag.
   */
  tags: number;
  blobs: number;
  events: number;
  users: number;
  /** The number of all teams, and of those of `big`. Each team has a policy. */
  teams: number;
  teamsOfBig: number;
  /** The number of repositories with a policy. */
  policies: number;
  keys: number;
  logins: number;
  webhooks: number;
  deliveries: number;
  /** The number of deleted tags of `big/tags`, and also of deleted repositories of `big`. */
  trash: number;
  /** The number of comments on `big/tags`. */
  comments: number;
}

/** The number of blobs that an image references: its config and six layers. */
export const BLOBS_PER_IMAGE = 7;
export const BLOB_BYTES = 1_000_000;
export const BIG = 'big';
/** The repository with many tags. */
export const BIG_REPOSITORY = 'big/tags';

const FULL: Shape = {
  organizations: 4500,
  repositories: 50_000,
  ofBig: 5000,
  tags: 100_000,
  blobs: 1_000_000,
  events: 5_000_000,
  users: 10_000,
  teams: 9000,
  teamsOfBig: 160,
  policies: 10_000,
  keys: 20_000,
  logins: 50_000,
  webhooks: 2000,
  deliveries: 100_000,
  trash: 2000,
  comments: 900,
};

/**
 * The minimum numbers of the smaller database. A list must still fill a page, so that both databases give answers of the same
 * size.
 */
const LEAST: Partial<Record<keyof Shape, number>> = {
  organizations: 150,
  ofBig: 150,
  teamsOfBig: 150,
  users: 300,
  trash: 150,
  comments: 150,
};

export function shapeOf(scale: number): Shape {
  const entries = Object.entries(FULL) as [keyof Shape, number][];
  const scaled = entries.map(([name, count]) => [name, Math.max(LEAST[name] ?? 1, Math.round(count * scale))]);
  const shape = Object.fromEntries(scaled) as unknown as Shape;
  return {
    ...shape,
    repositories: Math.max(shape.repositories, shape.ofBig * 2),
    teams: Math.max(shape.teams, shape.teamsOfBig * 2),
  };
}
