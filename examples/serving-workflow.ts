/**
 * The whole way with the client beside this file: deploy, wait, ask about its health, chat, roll back, delete.
 *
 *     node examples/serving-workflow.ts [model] [url]
 */

import { ServingClient, ServingError } from './serving-client.ts';

declare const process: { argv: string[]; env: Record<string, string | undefined>; exitCode: number };

const [, , model = 'python_helper', url = 'http://localhost:8000'] = process.argv;
const token = process.env['LLMOPS_TOKEN'];
const client = new ServingClient(url, token === undefined ? {} : { token });
const route = 'serving-client-ts';

try {
  let endpoint = await client.wait((await client.deploy(model, { route })).id);
  console.log(`${route} serves ${endpoint.modelName} ${endpoint.version}: ${(await client.health(route)).status}`);
  const answer = await client.chat(route, 'What is a KeyError?', { max_tokens: 32 });
  console.log(`it says ${JSON.stringify(answer.text)} (${answer.usage.total_tokens} tokens, ${answer.finishReason})`);
  let streamed = '';
  for await (const piece of client.stream(route, 'What is a KeyError?', { max_tokens: 32 })) streamed += piece.text;
  console.log(`the same as a stream: ${JSON.stringify(streamed)}`);
  endpoint = await client.rollback(endpoint.id);
  endpoint = await client.wait(endpoint.id, endpoint.maxReplicas ? 'healthy' : 'stopped');
  console.log(`rolled back: ${route} is ${endpoint.status}`);
  await client.delete(endpoint.id);
  console.log(`${route} is taken away`);
} catch (error) {
  if (!(error instanceof ServingError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
