/** Compiles only while the client's types are those of the API's description. */

import type { components } from './schema.js';
import type { Changes, Endpoint, EndpointEvent, Redeployment, Revision, Status, Wishes } from './serving-client.ts';

type Api = components['schemas'];
type Agrees<Given extends Wanted, Wanted> = Given;

export type Checked = [
  Agrees<Api['Endpoint'], Endpoint>,
  Agrees<keyof Endpoint, keyof Api['Endpoint']>,
  Agrees<Api['EndpointStatus'], Status>,
  Agrees<Status, Api['EndpointStatus']>,
  Agrees<Api['EndpointEvent'], EndpointEvent>,
  Agrees<Api['Deployment'], Revision>,
  Agrees<keyof Wishes, keyof Api['Deploy']>,
  Agrees<keyof Changes, keyof Api['EndpointChange']>,
  Agrees<keyof Api['EndpointChange'], keyof Changes>,
  Agrees<keyof Redeployment, keyof Changes>,
];
