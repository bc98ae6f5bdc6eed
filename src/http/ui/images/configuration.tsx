/** Shows the configuration of an image, and lists of names and values: environment, labels and annotations. */
import type { FC } from 'hono/jsx';
import type { WholeImageDetails } from '../../../app/images.ts';
import { wordsText } from '../../../oci/image-compare.ts';
import type { ImageConfig } from '../../../oci/image-config.ts';
import { CONFIG_MAX_BYTES } from '../../../vocabulary/images.ts';
import { bytesText, Foreign } from '../parts/text.tsx';

export const Configuration: FC<{ image: WholeImageDetails; config: ImageConfig | null }> = ({ image, config }) => {
  if (image.config === null) return null;
  return (
    <section aria-labelledby="configuration">
      <h2 id="configuration">Configuration</h2>
      {config === null ? <OtherConfig image={image} /> : <ImageConfiguration config={config} />}
    </section>
  );
};

/** The maximum number of characters of a config that is shown as text. */
const TEXT_MAX = 20_000;

/** Shows a config that is not that of a container image, such as the description of a Helm chart, or one that is no JSON. */
function OtherConfig({ image: { config, configText, kind } }: { image: WholeImageDetails }) {
  if (configText === null) {
    const isLong = (config?.size ?? 0) > CONFIG_MAX_BYTES;
    const why = isLong ? `it is longer than ${bytesText(CONFIG_MAX_BYTES)}` : 'its content is missing in storage';
    return <p class="soft">The config cannot be shown: {why}.</p>;
  }
  if (configText.trim() === '' || configText.trim() === '{}') return <p class="soft">It is empty.</p>;
  return (
    <>
      {kind === 'image' ? <p class="soft">The config is not one of a container image. Its text:</p> : null}
      <pre class="code" tabindex={0}>
        <Foreign text={indented(configText)} max={TEXT_MAX} />
      </pre>
    </>
  );
}

function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function ImageConfiguration({ config }: { config: ImageConfig }) {
  const rows = [
    ['Platform', config.platform],
    ['Entrypoint', wordsText(config.entrypoint)],
    ['Command', wordsText(config.command)],
    ['Shell', wordsText(config.shell)],
    ['Working directory', config.workingDirectory],
    ['User', config.user],
    ['Ports', config.ports.join(', ')],
    ['Volumes', config.volumes.join(', ')],
    ['Stop signal', config.stopSignal],
    ['Health check', wordsText(config.health)],
    ['Author', config.author],
  ].filter(([, value]) => value !== '');
  return (
    <>
      {rows.length === 0 && config.environment.length === 0 ? <p class="soft">It sets nothing.</p> : null}
      {rows.length === 0 ? null : (
        <dl class="facts panel">
          {rows.map(([title = '', value = '']) => (
            <>
              <dt>{title}</dt>
              <dd>
                <code>
                  <Foreign text={value} />
                </code>
              </dd>
            </>
          ))}
          {config.user === '' ? (
            <>
              <dt>User</dt>
              <dd class="soft">root, as none is set</dd>
            </>
          ) : null}
        </dl>
      )}
      <Pairs title="Environment" id="environment" pairs={config.environment} level={3} />
      <Pairs title="Labels" id="labels" pairs={config.labels} level={3} />
    </>
  );
}

/** The maximum number of characters of all names and values in a list, and of one of them. */
const PAIRS_LENGTH_MAX = 20_000;
const PART = 2000;

/** A list of names and values from an image. A value that is an https address becomes a link. */
export const Pairs: FC<{
  title: string;
  id: string;
  pairs: readonly (readonly [string, string])[];
  level?: 2 | 3;
  hint?: string;
}> = ({ title, id, pairs, level = 2, hint }) => {
  if (pairs.length === 0) return null;
  const shown = fitting(pairs);
  const count = <span class="soft count">{pairs.length}</span>;
  return (
    <section aria-labelledby={id}>
      {level === 2 ? (
        <h2 id={id}>
          {title} {count}
        </h2>
      ) : (
        <h3 id={id}>
          {title} {count}
        </h3>
      )}
      {hint === undefined ? null : <p class="hint">{hint}</p>}
      <dl class="facts panel pairs">
        {shown.map(([name, value]) => (
          <>
            <dt>
              <code>
                <Foreign text={name} />
              </code>
            </dt>
            <dd>
              <code>
                <Linked text={value} />
              </code>
            </dd>
          </>
        ))}
      </dl>
      {shown.length < pairs.length ? <p class="hint">The first {shown.length} are shown.</p> : null}
    </section>
  );
};

function fitting(pairs: readonly (readonly [string, string])[]): (readonly [string, string])[] {
  let room = PAIRS_LENGTH_MAX;
  const fits = pairs.findIndex(([name, value]) => {
    room -= Math.min(name.length, PART) + Math.min(value.length, PART);
    return room < 0;
  });
  return pairs.slice(0, fits < 0 ? pairs.length : Math.max(1, fits));
}

const ADDRESS = /^https:\/\/[!-~]{1,500}$/;

function Linked({ text }: { text: string }) {
  if (!ADDRESS.test(text) || !URL.canParse(text))
    return text === '' ? <span class="soft">empty</span> : <Foreign text={text} />;
  return (
    <a href={text} rel="nofollow noopener noreferrer ugc">
      {text}
    </a>
  );
}
