/** Decides which answers are possible, according to everything that was acknowledged and to all requests under way. */

/** The acknowledged state of a blob, a manifest or a repository. Times are in milliseconds. */
export class Thing {
  /** The start and the end of the latest acknowledged request. */
  #since: { start: number; end: number } | null = null;
  #deleting = 0;
  #deletedAt = Number.NEGATIVE_INFINITY;

  acknowledge(start: number, end: number): void {
    if (!this.#since || this.#since.start < start) this.#since = { start, end };
  }

  /** Begins a deletion. @returns a function to call at its end: true if it was applied, `null` if that is unknown */
  beginDeletion(): (done: boolean | null) => void {
    this.#deleting++;
    return (done) => {
      if (done !== null) this.#deleting--;
      if (done) this.#deletedAt = performance.now();
    };
  }

  /**
   * True if the content had to exist for a request that began at `start` and is answered now: it was acknowledged before, and
   * neither it nor its repository was deleted since.
   * @param within the number of milliseconds for which an acknowledgement counts, from the start of the acknowledged request
   */
  had(start: number, repository: Thing | null, within = Number.POSITIVE_INFINITY): boolean {
    const since = this.#since;
    if (!since || since.end > start || performance.now() > since.start + within) return false;
    return this.#isUndeletedSince(since.start) && (repository === null || repository.#isUndeletedSince(since.start));
  }

  #isUndeletedSince(start: number): boolean {
    return this.#deleting === 0 && this.#deletedAt < start;
  }
}

/** The expected digest of a tag. It is certain only while no other request changes the tag. */
export class TagValue {
  #writing = 0;
  #version = 0;
  #value: string | null | undefined = null;

  beginWrite(): (value: string | null | undefined) => void {
    const alone = this.#writing++ === 0;
    const version = ++this.#version;
    return (value) => {
      this.#writing--;
      this.#value = alone && this.#version === version ? value : undefined;
      this.#version++;
    };
  }

  /** Begins a read. @returns a function that takes the digest that was read, and returns the expected one if it is certain */
  beginRead(): (value: string | null) => string | null | undefined {
    const version = this.#version;
    return (value) => {
      const certain = this.#writing === 0 && this.#version === version && this.#value !== undefined;
      return certain && this.#value !== value ? (this.#value ?? null) : undefined;
    };
  }
}

export class Repository {
  readonly itself = new Thing();
  readonly name: string;
  readonly #things = new Map<string, Thing>();
  readonly #tags: Map<string, TagValue>;

  constructor(name: string, tags: string[]) {
    this.name = name;
    this.#tags = new Map(tags.map((tag) => [tag, new TagValue()]));
  }

  thing(digest: string): Thing {
    const thing = this.#things.get(digest) ?? new Thing();
    this.#things.set(digest, thing);
    return thing;
  }

  tag(name: string): TagValue {
    return this.#tags.get(name) as TagValue;
  }

  /** Begins a time in which any tag of the repository may be deleted. @returns a function that ends this time */
  beginDoubt(): () => void {
    const ends = [...this.#tags.values()].map((tag) => tag.beginWrite());
    return () => {
      for (const end of ends) end(undefined);
    };
  }

  /** True if a request that started at this time had to find the content. */
  had(digest: string, start: number, within?: number): boolean {
    return this.thing(digest).had(start, this.itself, within);
  }
}
