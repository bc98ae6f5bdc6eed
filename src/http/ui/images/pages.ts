/** The pages of images. */
import { comparePages } from './compare.tsx';
import { deletionPages } from './deletion.tsx';
import { historyPages } from './history.tsx';
import { imagePages } from './image.tsx';
import { rawPages } from './raw.tsx';
import { referrerPages } from './referrer.tsx';

export const imagesPages = [rawPages, referrerPages, historyPages, deletionPages, comparePages, imagePages];
