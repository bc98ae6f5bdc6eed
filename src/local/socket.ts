/**
 * The socket on which the registry listens, as a plugin of the emulator. The emulator's own direct sockets are not safe: they
 * take the address of the client from a header, `MF-CF-Blob`, and accept remote procedure calls from everybody who can connect.
 * This socket accepts only HTTP, and the runtime itself determines the address of the client.
 */
import type { Plugin } from 'miniflare';

const NAME = 'berth-socket';
/** The prefix of the name that the emulator gives to a Worker's service. */
const WORKER_PREFIX = 'core:user:';

interface Address {
  host: string;
  port: number;
}

/** Returns a binding that opens the socket. The Worker does not see the binding. */
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

/** The emulator imports this file by its name and reads this export. */
export const plugins = { [NAME]: plugin };

function addressText({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
