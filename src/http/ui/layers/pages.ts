/** The pages of layers. */
import { layerFilePages } from './files.tsx';

export const layerPages = [layerFilePages];
