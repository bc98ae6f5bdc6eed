/**
 * The message for an incoming webhook of Slack: one sentence for each event, in `mrkdwn` (docs.slack.dev, "Formatting message
 * text"). Mattermost and Rocket.Chat accept the same messages.
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
      // A message with blocks shows this text only in notifications.
      text: sentence,
      blocks: [
        { type: 'section', text: mrkdwn(sentence) },
        { type: 'context', elements: [mrkdwn(context)] },
      ],
    });
  },
};

/** Returns a text object. With `verbatim`, Slack does not turn a name such as `example.com/tools` into a link or a mention. */
function mrkdwn(text: string) {
  return { type: 'mrkdwn', text, verbatim: true };
}

/**
 * Formats a name as code, so that Slack finds no links, mentions or formatting in it. Backticks, line breaks and invisible
 * characters are replaced, so that the name cannot end the code.
 */
function code(name: string): string {
  const plain = name.replaceAll(/[`\p{C}\p{Z}]/gu, ' ');
  return `\`${plain.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')}\``;
}
