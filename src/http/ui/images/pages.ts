/** The pages of images. */
import { imagePages } from './image.tsx';
import { rawPages } from './raw.tsx';

export const imagesPages = [rawPages, imagePages];
