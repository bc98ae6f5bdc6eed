/**
 * Builds the documents about the management API: the OpenAPI document, the same as an HTML page, and the JSON schema of events.
 * This code is not part of the Worker: `npm run reference` writes the documents to `src/http/ui/public/reference/`. They
 * contain the address of the example registry (`samples.ts`), which the Worker replaces by its own (`documentation.ts`).
 */
import { EVENT_SCHEMA } from '../../../contract/event-schema.ts';
import { SAMPLE_ORIGIN } from '../samples.ts';
import { openApiDocument, pathsOf } from './openapi.ts';
import { referencePage } from './page.ts';

/** Returns the text of each document, by the name of its file. */
export async function documents(): Promise<Record<string, string>> {
  const paths = pathsOf();
  return {
    'openapi.json': inLines(openApiDocument(paths, SAMPLE_ORIGIN)),
    'event.schema.json': `${JSON.stringify(EVENT_SCHEMA)}\n`,
    'page.html': `${await referencePage(paths, SAMPLE_ORIGIN)}\n`,
  };
}

/** Returns the document as JSON with one line for each path, so that git can merge changes of different paths. */
function inLines({ paths, ...rest }: ReturnType<typeof openApiDocument>): string {
  const lines = Object.entries(paths).map(([path, methods]) => `${JSON.stringify(path)}:${JSON.stringify(methods)}`);
  return `${JSON.stringify(rest).slice(0, -1)},"paths":{\n${lines.join(',\n')}\n}}\n`;
}
