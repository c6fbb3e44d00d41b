/** File extensions the API takes for data sets; it looks into the files as well, this only spares a useless upload. */
export const DATASET_FILES = ['.csv', '.jsonl', '.parquet'];
