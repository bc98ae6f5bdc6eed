/**
 * The format of messages for incoming webhooks of Slack: one sentence for each event, in `mrkdwn` (docs.slack.dev, "Formatting
 * message text"). Mattermost and Rocket.Chat accept the same messages.
 */
import { ASKED_FOR, type Format, registryHost, timestampOf } from './format.ts';
import { sentenceOf } from './sentences.ts';

export const slack: Format = {
  contentType: 'application/json',
  needsFacts: false,
  speaksOf: () => true,
  onlyIfNamed: ASKED_FOR,
  render(occurrence) {
    const { event } = occurrence;
    const sentence = sentenceOf(event)
      .map((part, n) => (n % 2 === 1 ? code(part) : part))
      .join('');
    const context = `${code(registryHost(occurrence))}, <!date^${event.at}^{date_short_pretty} {time}|${timestampOf(event)}>`;
    return JSON.stringify({
      // Slack shows this text only in notifications, because the message has blocks.
      text: sentence,
      blocks: [
        { type: 'section', text: mrkdwn(sentence) },
        { type: 'context', elements: [mrkdwn(context)] },
      ],
    });
  },
};

/** Returns a text object. `verbatim` keeps Slack from turning a name such as `example.com/tools` into a link or a mention. */
function mrkdwn(text: string) {
  return { type: 'mrkdwn', text, verbatim: true };
}

/**
 * Formats a name as code, so that Slack finds no links, mentions or formatting in it. Replaces backticks, line breaks and
 * invisible characters, so that the name cannot end the code.
 */
function code(name: string): string {
  const plain = name.replaceAll(/[`\p{C}\p{Z}]/gu, ' ');
  return `\`${plain.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')}\``;
}
