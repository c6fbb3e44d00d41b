/** A column of DataTable; its cells come from the slot named `key`. */
export interface Column {
  key: string;
  label: string;
  numeric?: boolean;
  nowrap?: boolean;
  /** Left out on narrow screens. */
  optional?: boolean;
  /** The label is for screen readers only, as over a column of buttons. */
  hiddenLabel?: boolean;
}
