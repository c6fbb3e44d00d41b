import { parseObject } from '../../kit/json';
import type { JobRequest, JobType } from './queries';

export const JOB_TYPES = ['finetune', 'from_scratch', 'pretrain'] as const satisfies JobType[];

/** What the form holds. Dials are text, since an empty one means the recipe's default. */
export interface JobForm {
  jobType: string;
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
  maxDuration: number;
  cpuCores: number;
  memory: string;
  evaluateOn: string;
}

export function blankForm(datasetId: string, modelId: string): JobForm {
  return {
    jobType: 'finetune',
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
    maxDuration: 60,
    cpuCores: 2,
    memory: '4Gi',
    evaluateOn: '',
  };
}

/** Whether a job of this type starts from no model. */
export function needsArchitecture(jobType: string): boolean {
  return jobType !== 'finetune';
}

/** The request a filled-in form means. Dials left empty are left out, so that the recipe's own defaults apply. */
export function requestOf(form: JobForm): JobRequest {
  const scratch = needsArchitecture(form.jobType);
  const dials = { epochs: form.epochs, batchSize: form.batchSize, learningRate: form.learningRate, seed: form.seed };
  const set = Object.fromEntries(Object.entries(dials).filter(([, value]) => value !== '').map(([name, value]) => [name, Number(value)]));
  const columns = scratch ? { textColumn: form.textColumn } : { promptColumn: form.promptColumn, answerColumn: form.answerColumn };
  const { hiddenSize, layers, vocabSize, contextLength } = form;
  const architecture = scratch ? { architecture: { hiddenSize, layers, vocabSize, contextLength } } : {};
  return {
    jobType: form.jobType as JobType,
    datasetId: form.datasetId,
    outputModelName: form.outputModelName,
    ...(scratch ? {} : { modelId: form.modelId }),
    useGpu: form.useGpu,
    hyperparameters: { ...architecture, ...columns, ...set, ...parseObject(form.more).value },
    resourceProfile: form.useGpu
      ? { gpuCount: form.gpuCount, maxDuration: form.maxDuration, ...(form.gpuType ? { gpuType: form.gpuType } : {}) }
      : { cpuCores: form.cpuCores, memory: form.memory },
    ...(form.evaluateOn ? { autoEvaluate: { datasetId: form.evaluateOn, metrics: [] } } : {}),
  };
}
