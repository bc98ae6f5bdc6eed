/** The pages of the reader's own account, of signing in and of signing out. */
import { ownPages } from './account.tsx';
import { keyPages } from './key.tsx';
import { keyListPages } from './keys.tsx';
import { loginPages } from './logins.tsx';
import { providerPages } from './provider.tsx';
import { signInPages } from './sign-in.tsx';

export const accountPages = [signInPages, ownPages, keyListPages, keyPages, loginPages, providerPages];
