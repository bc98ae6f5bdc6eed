/**
 * Reads the config of a container image (image-spec config.md) for display. A config may be any blob, so every field may have
 * any type. Fields that cannot be read count as absent. This module does no I/O.
 */

export interface ImageConfig {
  /** In seconds since the epoch. `null` if the time is not stated or is Go's zero time. */
  created: number | null;
  author: string;
  platform: string;
  user: string;
  workingDirectory: string;
  entrypoint: string[];
  command: string[];
  shell: string[];
  stopSignal: string;
  /** Names and values. An entry without `=` has an empty value. */
  environment: (readonly [name: string, value: string])[];
  ports: string[];
  volumes: string[];
  labels: (readonly [name: string, value: string])[];
  health: string[];
  history: Step[];
}

/** A step of the build that made the image. */
export interface Step {
  /** The instruction as in a Dockerfile. */
  command: string;
  /** The build arguments of the step, as one text. */
  buildArguments: string;
  comment: string;
  /** True if the step made no layer. */
  isEmpty: boolean;
}

/** The maximum number of entries of each list, and of build steps, that are read. A config may have a million bytes. */
const ENTRIES_MAX = 300;
const STEPS_MAX = 1000;

type Json = Record<string, unknown>;

/** @returns `null` if the text is no JSON object */
export function readImageConfig(json: string): ImageConfig | null {
  const document = object(parsed(json));
  if (document === null) return null;
  const config = object(document.config) ?? {};
  const platform = [document.os, document.architecture, document.variant].map(text).filter((part) => part !== '');
  return {
    created: secondsOf(text(document.created)),
    author: text(document.author),
    platform: platform.join('/'),
    user: text(config.User),
    workingDirectory: text(config.WorkingDir),
    entrypoint: texts(config.Entrypoint),
    command: texts(config.Cmd),
    shell: texts(config.Shell),
    stopSignal: text(config.StopSignal),
    environment: texts(config.Env).map(assignment),
    ports: Object.keys(object(config.ExposedPorts) ?? {}).slice(0, ENTRIES_MAX),
    volumes: Object.keys(object(config.Volumes) ?? {}).slice(0, ENTRIES_MAX),
    labels: Object.entries(object(config.Labels) ?? {})
      .slice(0, ENTRIES_MAX)
      .map(([name, value]) => [name, text(value)] as const),
    health: texts(object(config.Healthcheck)?.Test),
    history: list(document.history).slice(0, STEPS_MAX).map(stepOf),
  };
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}

function object(value: unknown): Json | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : null;
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function texts(value: unknown): string[] {
  return list(value)
    .slice(0, ENTRIES_MAX)
    .filter((item) => typeof item === 'string');
}

function assignment(entry: string): readonly [string, string] {
  const at = entry.indexOf('=');
  return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
}

/** The last second of the year 9999, the last that a date with four digits can name. */
const LAST_SECOND = 253_402_300_799;

function secondsOf(time: string): number | null {
  if (!/^\d{4}-\d{2}-\d{2}T/.test(time)) return null;
  const seconds = Math.floor(Date.parse(time) / 1000);
  return seconds >= 0 && seconds <= LAST_SECOND ? seconds : null;
}

function stepOf(value: unknown): Step {
  const entry = object(value) ?? {};
  return { ...instructionIn(text(entry.created_by)), comment: text(entry.comment), isEmpty: entry.empty_layer === true };
}

/** Texts that builders add to an instruction: BuildKit at the end, and both builders a shell at the beginning. */
const BUILDKIT = /\s+# buildkit\s*$/;
const NOT_RUN = /^\/bin\/sh -c #\(nop\)\s*/;
const SHELL = /^\/bin\/sh -c /;
const RUN = /^RUN /;

/** Returns the Dockerfile instruction for the text that a builder recorded. */
export function instructionIn(createdBy: string): Pick<Step, 'command' | 'buildArguments'> {
  const recorded = createdBy.replace(BUILDKIT, '').trim();
  if (NOT_RUN.test(recorded)) return { command: shortHashes(recorded.replace(NOT_RUN, '')), buildArguments: '' };
  const { rest, buildArguments } = withoutBuildArguments(recorded.replace(RUN, ''));
  const isRun = RUN.test(recorded) || SHELL.test(rest) || buildArguments !== '';
  return { command: isRun ? `RUN ${rest.replace(SHELL, '')}` : shortHashes(rest), buildArguments };
}

/**
 * Splits build arguments from the command. A builder records `|2 A=1 B=2 /bin/sh -c make` for two build arguments. Their values
 * may contain spaces.
 */
function withoutBuildArguments(recorded: string): { rest: string; buildArguments: string } {
  const [, count = '', after = ''] = /^\|(\d{1,3}) (.*)$/s.exec(recorded) ?? [];
  if (count === '') return { rest: recorded, buildArguments: '' };
  const shell = after.indexOf('/bin/sh -c ');
  if (shell >= 0) return { rest: after.slice(shell), buildArguments: after.slice(0, shell).trim() };
  const words = after.split(' ');
  return { rest: words.slice(Number(count)).join(' '), buildArguments: words.slice(0, Number(count)).join(' ') };
}

/**
 * Shortens the hashes in instructions such as `COPY file:0123… in /app`. The builder writes 64 digits, which are of no use to
 * readers.
 */
function shortHashes(command: string): string {
  return command.replaceAll(/\b(file|dir|multi):([0-9a-f]{12})[0-9a-f]{52}\b/g, '$1:$2');
}

/** A row of the build history: a step with the layer that it made, a step without a layer, or a layer whose step is unknown. */
export interface BuildRow<Layer> {
  step: Step | null;
  layer: Layer | null;
}

/**
 * Why steps cannot be assigned to layers: the config has no steps (`none`), or the number of steps that made a layer (`steps`)
 * differs from the number of layers (`mismatch`).
 */
export type Misfit = { reason: 'none' } | { reason: 'mismatch'; steps: number };

/**
 * Assigns each layer to the step that made it. The steps that are not marked `empty_layer` made the layers, in the same order.
 * If the numbers of these steps and of the layers differ, no step can be assigned.
 * @param complete false if the list of layers was cut at its end
 */
export function alignHistory<Layer>(
  history: readonly Step[],
  layers: readonly Layer[],
  complete = true,
): { rows: BuildRow<Layer>[]; misfit: Misfit | null } {
  const steps = history.filter(({ isEmpty }) => !isEmpty).length;
  const fits = complete ? steps === layers.length : steps >= layers.length;
  if (!fits || history.length === 0) {
    const rows = layers.map((layer) => ({ step: null, layer }));
    if (layers.length === 0) return { rows, misfit: null };
    return { rows, misfit: history.length === 0 ? { reason: 'none' } : { reason: 'mismatch', steps } };
  }
  const rest = layers.values();
  const rows = history.map((step) => ({ step, layer: step.isEmpty ? null : (rest.next().value ?? null) }));
  return { rows: rows.filter(({ step, layer }) => step.isEmpty || layer !== null), misfit: null };
}
