/** The pages of images. */
import { deletionPages } from './deletion.tsx';
import { historyPages } from './history.tsx';
import { imagePages } from './image.tsx';
import { rawPages } from './raw.tsx';

export const imagesPages = [rawPages, historyPages, deletionPages, imagePages];
