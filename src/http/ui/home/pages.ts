/** The page at `/`. */
import { homePage } from './home.tsx';

export const homePages = [homePage];
