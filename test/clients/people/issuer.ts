/** A token issuer on this machine, like GitHub's for its jobs. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';

export interface Issuer {
  url: string;
  /** The token of a job, for the audience `aud`. @param lifetime for example `5m` */
  token(claims: { aud: string } & Record<string, string>, lifetime?: string): Promise<string>;
  stop(): Promise<void>;
}

const LIFETIME = '5m';

export async function startIssuer(): Promise<Issuer> {
  const { publicKey, privateKey } = await generateKeyPair('RS256');
  const header = { alg: 'RS256', kid: 'one', typ: 'JWT' };
  const keys = [{ ...(await exportJWK(publicKey)), kid: header.kid, alg: header.alg, use: 'sig' }];
  const documents: Record<string, object> = { '/keys': { keys } };
  const server = createServer((request, response) => {
    const document = documents[request.url ?? ''];
    response.writeHead(document ? 200 : 404, { 'content-type': 'application/json' }).end(JSON.stringify(document ?? {}));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  documents['/.well-known/openid-configuration'] = { issuer: url, jwks_uri: `${url}/keys` };
  return {
    url,
    token: ({ aud, ...claims }, lifetime = LIFETIME) =>
      new SignJWT(claims)
        .setProtectedHeader(header)
        .setIssuer(url)
        .setAudience(aud)
        .setIssuedAt()
        .setExpirationTime(lifetime)
        .sign(privateKey),
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
