/**
 * The socket of the registry, as a plugin of the emulator. The emulator's own direct sockets believe a header, `MF-CF-Blob`, about
 * where a request comes from, and take remote procedure calls past the Worker's front door from whoever can connect. This one
 * speaks HTTP and nothing else, and the runtime itself says which address is at its other end.
 */
import type { Plugin } from 'miniflare';

const NAME = 'berth-socket';
/** The emulator's name of a Worker. */
const WORKER_PREFIX = 'core:user:';

export interface Address {
  host: string;
  port: number;
}

/** A binding that opens the socket. The Worker itself does not see it. */
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

/** The emulator imports this file and looks here. */
export const plugins = { [NAME]: plugin };

function addressText({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
