/** Checks every answer against what the clients together may rely on, whatever else is under way. */

/** Acknowledged content of a repository: a blob, a manifest. Times are milliseconds. */
export class Thing {
  /** Start of the latest acknowledged request. */
  #since: { start: number; end: number } | null = null;
  #deleting = 0;
  #deletedAt = Number.NEGATIVE_INFINITY;

  acknowledge(start: number, end: number): void {
    if (!this.#since || this.#since.start < start) this.#since = { start, end };
  }

  /** The returned function is called at its end with whether it was applied: `null` if unknown. */
  beginDeletion(): (done: boolean | null) => void {
    this.#deleting++;
    return (done) => {
      if (done !== null) this.#deleting--;
      if (done) this.#deletedAt = performance.now();
    };
  }

  /**
   * True if it had to exist for a request that started then and has its answer now: acknowledged before, and neither it nor
   * its repository deleted since. @param within milliseconds for which an acknowledgement counts, from its own start
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

/** The expected digest of a tag if that is certain: nobody else was changing it. */
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

  /** The returned function is called with what was read, and returns what it should have been if that is certain. */
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

  /** Something may delete any of its tags until the returned function is called. */
  beginDoubt(): () => void {
    const ends = [...this.#tags.values()].map((tag) => tag.beginWrite());
    return () => {
      for (const end of ends) end(undefined);
    };
  }

  /** True if a request that started then had to find it. */
  had(digest: string, start: number, within?: number): boolean {
    return this.thing(digest).had(start, this.itself, within);
  }
}
