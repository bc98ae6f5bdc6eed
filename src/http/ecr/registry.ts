/** Operations on the registry: the login, and the settings that this registry does not have. */
import * as z from 'zod';
import { createLoginPassword } from '../../app/login.ts';
import { registryId } from './fields.ts';
import { type EcrOperation, ecrOperation } from './operation.ts';

export const registryOperations: Readonly<Record<string, EcrOperation>> = {
  GetAuthorizationToken: ecrOperation({
    input: z.object({ registryIds: z.optional(z.array(registryId).min(1).max(10)) }),
    cost: 'write',
    async answer(call) {
      const { token, expiresAt } = await createLoginPassword(call, undefined);
      // The base64 text of `AWS:` and a JWT has neither `+` nor `/`, which a release of Terraform could not decode.
      const authorizationToken = btoa(`AWS:${token}`);
      return { authorizationData: [{ authorizationToken, expiresAt, proxyEndpoint: call.origin }] };
    },
  }),
};
