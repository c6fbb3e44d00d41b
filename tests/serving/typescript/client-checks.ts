/** What the TypeScript client asks again and what it never does, against the scripted server; one line a check. */

import { BrokeOff, NotInTime, Refused, ServingClient, Unreachable, type Piece } from './serving-client.ts';

declare const process: { argv: string[] };

const url = process.argv[2] ?? '';
const client = new ServingClient(url, { token: 'sk-llmops-x', user: 'kim', roles: 'viewer' });

function check(what: string, holds: boolean): void {
  if (!holds) throw new Error(`not so: ${what}`);
  console.log(what);
}

async function thrown(act: () => Promise<unknown>): Promise<unknown> {
  try {
    await act();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

async function read(route: string): Promise<[Piece[], unknown]> {
  const pieces: Piece[] = [];
  try {
    for await (const piece of client.stream(route, 'hi')) pieces.push(piece);
  } catch (error) {
    return [pieces, error];
  }
  return [pieces, undefined];
}

const ids: string[] = [];
for await (const each of client.list({ status: 'healthy' })) ids.push(each.id);
check('lists are read over all their pages', ids.join() === 'e1,e2');

check('a deployment is asked for again', (await client.deploy('tiny@1', { route: 'r', useGpu: false })).id === 'e1');
const unknown = await thrown(() => client.deploy('tiny@2', { route: 'r' }));
check('a model that is not approved is refused', unknown instanceof Refused && unknown.kind === 'not_found');

const back = await thrown(() => client.rollback('e1'));
check('a rollback is refused with its remedy', back instanceof Refused && back.status === 503 && back.remedy === 'Mend it.');

check('a change that names no revision is asked for again', (await client.change('e1', { maxReplicas: 3, useGpu: null })).id === 'e1');
const twice = await thrown(() => client.change('e2', { maxReplicas: 3, revision: 4 }));
check('a change of one revision is not', twice instanceof Refused && twice.status === 502);
check('a redeployment says what is another', (await client.redeploy('e1', { useGpu: false, memoryLimit: '8Gi' })).id === 'e1');
check('one goes back to a revision by its number', (await client.rollback('e3', 2)).id === 'e1');

check('waiting survives an absence and a route that lags', (await client.wait('e1')).id === 'e1');
const ill = await thrown(() => client.wait('ill'));
check('waiting for what failed is told', ill instanceof NotInTime && ill.message === 'r is failed: no memory');

const wrong = await thrown(() => client.chat('wrong', 'hi', { temperature: 9 }));
check('a refusal carries the wrong fields', wrong instanceof Refused && wrong.errors[0]?.path === 'temperature');
check('a refusal carries the request id', wrong instanceof Refused && wrong.requestId === 'a1');
const spent = await thrown(() => client.chat('spent', 'hi'));
check('an hour is not waited for', spent instanceof Refused && spent.retryAfter === 3600);
const strange = await thrown(() => client.chat('elsewhere', 'hi'));
check('what is not of the platform is named', strange instanceof Refused && strange.message.includes('not of this platform'));

const answer = await client.chat('r', 'hi', { max_tokens: 3 });
check('a chat refused for now is asked again', answer.text === 'hi' && answer.usage.total_tokens === 2);
check('it says who answered', answer.route === 'stand-in');

const [odd] = await read('odd');
check('a stream is read wherever it is cut', odd.map((piece) => piece.text).join('|') === 'a\u2028b|안녕|');
check('a stream ends with its usage', odd.at(-1)?.usage?.total_tokens === 2);
for (const [route, told] of [
  ['dies', 'the model died'],
  ['ends', 'before its end'],
  ['drops', 'broke off'],
] as const) {
  const [pieces, error] = await read(route);
  check(`a stream that ${route} raises after its pieces`, pieces[0]?.text === 'half' && error instanceof BrokeOff && error.message.includes(told));
}
const [none, refused] = await read('wrong');
check('a stream is refused as any other', none.length === 0 && refused instanceof Refused && refused.status === 422);

const left = new AbortController();
left.abort();
const aborted = await thrown(() => client.chat('r', 'hi', { signal: left.signal }));
check('who leaves gets no error of ours', aborted instanceof Error && aborted.name === 'AbortError');

const nobody = new ServingClient('http://127.0.0.1:9', { retries: 0 });
const silence = await thrown(() => nobody.get('e1'));
check('nobody there is unreachable', silence instanceof Unreachable && silence.name === 'Unreachable');
