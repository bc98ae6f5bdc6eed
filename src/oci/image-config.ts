/**
 * Reads the config of a container image (image-spec config.md) for people. A config is a blob that nobody has checked, so every
 * field may have any type, and everything that cannot be read counts as absent. Pure.
 */

export interface ImageConfig {
  /** Seconds since the epoch; `null`: not stated, or the zero time of Go. */
  created: number | null;
  author: string;
  platform: string;
  user: string;
  workingDirectory: string;
  entrypoint: string[];
  command: string[];
  shell: string[];
  stopSignal: string;
  /** Names and values; an entry without `=` has an empty value. */
  environment: (readonly [name: string, value: string])[];
  ports: string[];
  volumes: string[];
  labels: (readonly [name: string, value: string])[];
  health: string[];
  history: Step[];
}

/** One step of the build. */
export interface Step {
  /** The instruction, as a Dockerfile has it. */
  command: string;
  /** The build arguments that the step had, as one text. */
  buildArguments: string;
  comment: string;
  /** True if the step made no layer. */
  isEmpty: boolean;
}

/** Limits of what is read. A config may be a million bytes. */
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

/** The last second that a date of four digits can name. */
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

/** The tail that BuildKit adds, and the shell that both builders add. */
const BUILDKIT = /\s+# buildkit\s*$/;
const NOT_RUN = /^\/bin\/sh -c #\(nop\)\s*/;
const SHELL = /^\/bin\/sh -c /;
const RUN = /^RUN /;

/** Reads the instruction of a Dockerfile from the text that a builder recorded. */
export function instructionIn(createdBy: string): Pick<Step, 'command' | 'buildArguments'> {
  const recorded = createdBy.replace(BUILDKIT, '').trim();
  if (NOT_RUN.test(recorded)) return { command: shortHashes(recorded.replace(NOT_RUN, '')), buildArguments: '' };
  const { rest, buildArguments } = withoutBuildArguments(recorded.replace(RUN, ''));
  const isRun = RUN.test(recorded) || SHELL.test(rest) || buildArguments !== '';
  return { command: isRun ? `RUN ${rest.replace(SHELL, '')}` : shortHashes(rest), buildArguments };
}

/** `|2 A=1 B=2 /bin/sh -c make`: two build arguments come before the command. Their values may have spaces. */
function withoutBuildArguments(recorded: string): { rest: string; buildArguments: string } {
  const [, count = '', after = ''] = /^\|(\d{1,3}) (.*)$/s.exec(recorded) ?? [];
  if (count === '') return { rest: recorded, buildArguments: '' };
  const shell = after.indexOf('/bin/sh -c ');
  if (shell >= 0) return { rest: after.slice(shell), buildArguments: after.slice(0, shell).trim() };
  const words = after.split(' ');
  return { rest: words.slice(Number(count)).join(' '), buildArguments: words.slice(0, Number(count)).join(' ') };
}

/** `COPY file:0123… in /app`: the builder writes 64 digits that no reader compares. */
function shortHashes(command: string): string {
  return command.replaceAll(/\b(file|dir|multi):([0-9a-f]{12})[0-9a-f]{52}\b/g, '$1:$2');
}

/** A row of a build: a step with the layer that it made, a step without a layer, or a layer whose step is not known. */
export interface BuildRow<Layer> {
  step: Step | null;
  layer: Layer | null;
}

/** Why the layers have no steps: the config has none, or as many steps that make a layer as `steps` says, which do not fit. */
export type Misfit = { reason: 'none' } | { reason: 'mismatch'; steps: number };

/**
 * Puts each layer to the step that made it. The steps without `empty_layer` are the layers in their order. If their numbers
 * differ, nobody can tell which step made which layer.
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
