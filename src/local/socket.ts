/**
 * The registry's socket, as a plugin of the emulator. The emulator's own direct sockets trust a header, `MF-CF-Blob`, about
 * where a request comes from, and accept remote procedure calls from anybody who can connect. This socket speaks only HTTP, and
 * the runtime itself tells the address of the client.
 */
import type { Plugin } from 'miniflare';

const NAME = 'berth-socket';
/** The prefix of the emulator's name for a Worker's service. */
const WORKER_PREFIX = 'core:user:';

interface Address {
  host: string;
  port: number;
}

/** A binding that opens the socket and that the Worker does not see. */
export function socketBinding(address: Address) {
  return {
    type: 'unsafe:socket' as const,
    dev: { plugin: { package: import.meta.filename, name: NAME }, options: { ...address } },
  };
}

type Binding = ReturnType<typeof socketBinding>;

const plugin = {
  bindingTypeDescription: 'Socket',
  getBindings: () => undefined,
  getNodeBindings: () => ({}),
  async getServices({ options: { config } }) {
    const bindings = Object.values(config.env ?? {}).filter(({ type }) => type === 'unsafe:socket') as unknown as Binding[];
    const sockets = bindings.map(({ dev }) => ({
      name: NAME,
      address: addressText(dev.options),
      http: {},
      service: { name: `${WORKER_PREFIX}${config.name}` },
    }));
    return { services: [], extensions: [], sockets };
  },
} satisfies Plugin;

/** The emulator imports this file and reads this export. */
export const plugins = { [NAME]: plugin };

function addressText({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
