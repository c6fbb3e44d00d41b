import catalog from '../rooms/catalog';
import cost from '../rooms/cost';
import evaluation from '../rooms/evaluation';
import governance from '../rooms/governance';
import home from '../rooms/home';
import prompts from '../rooms/prompts';
import serving from '../rooms/serving';
import training from '../rooms/training';
import type { Room } from './room';

/** Every room of the console, in the order of the journey. */
export const rooms: Room[] = [home, catalog, prompts, training, evaluation, serving, cost, governance];
