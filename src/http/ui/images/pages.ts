/** The pages of images. */
import { comparePages } from './compare.tsx';
import { deletionPages } from './deletion.tsx';
import { historyPages } from './history.tsx';
import { imagePages } from './image.tsx';
import { rawPages } from './raw.tsx';

export const imagesPages = [rawPages, historyPages, deletionPages, comparePages, imagePages];
