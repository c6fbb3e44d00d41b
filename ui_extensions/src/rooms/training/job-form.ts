import { parseObject } from '../../kit/json';
import type { BaseJobType, JobRequest, JobType } from './queries';

export const BASE_TYPES = ['finetune', 'from_scratch', 'pretrain'] as const satisfies BaseJobType[];
export const JOB_TYPES = [...BASE_TYPES, 'distributed'] as const satisfies JobType[];
export const PRIORITIES = { low: -50, normal: 0, high: 50, urgent: 100 } as const;

/** What the form holds. Dials are text, since an empty one means the recipe's default. */
export interface JobForm {
  jobType: string;
  baseJobType: string;
  outputModelName: string;
  datasetId: string;
  modelId: string;
  hiddenSize: number;
  layers: number;
  vocabSize: number;
  contextLength: number;
  epochs: string;
  batchSize: string;
  learningRate: string;
  seed: string;
  textColumn: string;
  promptColumn: string;
  answerColumn: string;
  more: string;
  useGpu: boolean;
  gpuCount: number;
  gpuType: string;
  nodes: number;
  maxDuration: number;
  cpuCores: number;
  memory: string;
  priority: string;
  team: string;
  maxRetries: number;
  backoffSeconds: number;
  onStart: boolean;
  onCompletion: boolean;
  evaluateOn: string;
}

export function blankForm(datasetId: string, modelId: string): JobForm {
  return {
    jobType: 'finetune',
    baseJobType: 'pretrain',
    outputModelName: '',
    datasetId,
    modelId,
    hiddenSize: 128,
    layers: 4,
    vocabSize: 2048,
    contextLength: 256,
    epochs: '',
    batchSize: '',
    learningRate: '',
    seed: '',
    textColumn: 'text',
    promptColumn: 'question',
    answerColumn: 'answer',
    more: '',
    useGpu: true,
    gpuCount: 1,
    gpuType: '',
    nodes: 2,
    maxDuration: 60,
    cpuCores: 2,
    memory: '4Gi',
    priority: 'normal',
    team: '',
    maxRetries: 2,
    backoffSeconds: 30,
    onStart: false,
    onCompletion: false,
    evaluateOn: '',
  };
}

/** What is trained: the job type, or what a distributed job distributes. */
export function trainedType(form: JobForm): string {
  return form.jobType === 'distributed' ? form.baseJobType : form.jobType;
}

/** Whether a job of this type starts from no model. */
export function needsArchitecture(type: string): boolean {
  return type !== 'finetune';
}

/** The processes a distributed job runs in: one a GPU, or one a node on CPUs. */
export function processesOf(form: JobForm): number {
  return form.nodes * (form.useGpu ? Math.max(form.gpuCount, 1) : 1);
}

/** What is wrong, by the path the API would name; the values are keys below `training.problems`. */
export function problemsOf(form: JobForm): Record<string, string> {
  const found: Record<string, string> = {};
  const check = (path: string, wrong: boolean, key: string) => {
    if (wrong) found[path] = key;
  };
  const number = (text: string) => (text === '' ? undefined : Number(text));
  const outside = (text: string, least: number, most: number, whole = false) => {
    const value = number(text);
    return value !== undefined && !(value >= least && value <= most && (!whole || Number.isInteger(value)));
  };
  check('outputModelName', !/^[a-z0-9][a-z0-9_-]{0,99}$/.test(form.outputModelName), form.outputModelName ? 'name' : 'required');
  check('datasetId', !form.datasetId, 'required');
  check('modelId', !needsArchitecture(trainedType(form)) && !form.modelId, 'required');
  check('hyperparameters', parseObject(form.more).error !== undefined, 'json');
  check('hyperparameters.epochs', number(form.epochs) === 0 || outside(form.epochs, 0, 1000), 'epochs');
  check('hyperparameters.batchSize', outside(form.batchSize, 1, 65_536, true), 'batchSize');
  check('hyperparameters.learningRate', number(form.learningRate) === 0 || outside(form.learningRate, 0, 1), 'learningRate');
  check('hyperparameters.seed', outside(form.seed, 0, 2 ** 31 - 1, true), 'seed');
  if (form.jobType === 'distributed') {
    check(form.useGpu ? 'resourceProfile.gpuCount' : 'resourceProfile.nodes', processesOf(form) < 2, 'processes');
  }
  if (form.useGpu) {
    check('resourceProfile.gpuType', form.gpuType !== '' && !/^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/.test(form.gpuType), 'gpuType');
    check('resourceProfile.gpuType', form.gpuType.toLowerCase() === 'cpu', 'gpuType');
  } else {
    check('resourceProfile.memory', form.memory !== '' && !/^[1-9]\d{0,11}(Ki|Mi|Gi|Ti|k|M|G|T)?$/.test(form.memory), 'memory');
  }
  return found;
}

/** The request a filled-in form means. Dials left empty are left out, so that the recipe's own defaults apply. */
export function requestOf(form: JobForm): JobRequest {
  const scratch = needsArchitecture(trainedType(form));
  const dials = { epochs: form.epochs, batchSize: form.batchSize, learningRate: form.learningRate, seed: form.seed };
  const set = Object.fromEntries(Object.entries(dials).filter(([, value]) => value !== '').map(([name, value]) => [name, Number(value)]));
  const columns = scratch ? { textColumn: form.textColumn } : { promptColumn: form.promptColumn, answerColumn: form.answerColumn };
  const { hiddenSize, layers, vocabSize, contextLength } = form;
  const architecture = scratch ? { architecture: { hiddenSize, layers, vocabSize, contextLength } } : {};
  return {
    jobType: form.jobType as JobType,
    ...(form.jobType === 'distributed' ? { baseJobType: form.baseJobType as BaseJobType } : {}),
    datasetId: form.datasetId,
    outputModelName: form.outputModelName,
    ...(scratch ? {} : { modelId: form.modelId }),
    useGpu: form.useGpu,
    hyperparameters: { ...architecture, ...columns, ...set, ...parseObject(form.more).value },
    resourceProfile: profileOf(form),
    priority: form.priority as keyof typeof PRIORITIES,
    retryPolicy: { maxRetries: form.maxRetries, backoffSeconds: form.backoffSeconds },
    notifications: { onStart: form.onStart, onCompletion: form.onCompletion },
    ...(form.team ? { team: form.team } : {}),
    ...(form.evaluateOn ? { autoEvaluate: { datasetId: form.evaluateOn, metrics: [] } } : {}),
  };
}

function profileOf(form: JobForm): Record<string, string | number> {
  const several = form.jobType === 'distributed';
  const shared = { maxDuration: form.maxDuration, ...(several ? { nodes: form.nodes } : {}) };
  if (!form.useGpu) return { cpuCores: form.cpuCores, ...(form.memory ? { memory: form.memory } : {}), ...shared };
  return { gpuCount: several ? form.gpuCount : 1, ...(form.gpuType ? { gpuType: form.gpuType } : {}), ...shared };
}
