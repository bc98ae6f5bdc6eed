/** Webhook endpoints on this machine. Each gives the answers that the test chooses, and records acknowledged deliveries. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Manner = 'well' | 'refuses' | 'hangs' | 'resets';

export class Endpoint {
  manner: Manner = 'well';
  /** The number of requests by `webhook-id`, and the ids of acknowledged deliveries. */
  readonly requests = new Map<string, number>();
  readonly acknowledged = new Set<string>();
  /** The ids of deliveries that were received again after they were acknowledged. */
  readonly repeated: string[] = [];
  /** The time of the last acknowledgement, in milliseconds since the epoch. */
  lastAt = 0;
  /** The number of requests that the endpoint will still fail. `null` means that it fails until the test changes this. */
  patience: number | null = null;

  take(id: string, response: ServerResponse): void {
    this.requests.set(id, (this.requests.get(id) ?? 0) + 1);
    if (this.acknowledged.has(id)) this.repeated.push(id);
    const manner = this.manner;
    if (this.patience !== null && manner !== 'well' && --this.patience <= 0) this.manner = 'well';
    if (manner === 'hangs') return;
    if (manner === 'resets') {
      response.destroy();
      return;
    }
    if (manner === 'well') {
      this.acknowledged.add(id);
      this.lastAt = Date.now();
    }
    response.writeHead(manner === 'well' ? 204 : 500).end();
  }
}

export interface Endpoints {
  all: Endpoint[];
  /** The URL of the endpoint with this number. */
  url(n: number): string;
  stop(): Promise<void>;
}

export async function startEndpoints(count: number): Promise<Endpoints> {
  const all = Array.from({ length: count }, () => new Endpoint());
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    request.resume().once('end', () => {
      const endpoint = all[Number(request.url?.slice(1))];
      if (endpoint) endpoint.take(String(request.headers['webhook-id']), response);
      else response.writeHead(404).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    all,
    url: (n) => `http://127.0.0.1:${port}/${n}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
