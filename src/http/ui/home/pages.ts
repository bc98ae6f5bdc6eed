/** The home page. */
import { homePage } from './home.tsx';

export const homePages = [homePage];
