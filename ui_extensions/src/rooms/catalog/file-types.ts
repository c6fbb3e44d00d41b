/** File extensions the API takes; it looks into the files as well, this only spares a useless upload. */
export const FILES = {
  dataset: ['.csv', '.jsonl', '.parquet'],
  model: ['.safetensors', '.json', '.txt', '.md', '.model', '.jinja', '.bin', '.pt'],
};
