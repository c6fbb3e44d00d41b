/**
 * What the server says in English, for readers of another language: a sentence for each of its codes.
 *
 * A code says less than the sentence, which names files, numbers and limits: the sentence stays beside it, marked as English.
 */
import { useI18n } from 'vue-i18n';

/** A problem as it is shown; `original` is the server's own sentence where `what` is not. */
export interface Said {
  what: string;
  remedy: string;
  original: string;
}

/** What is wrong and what to do about it; without the latter the server's own advice stands in the original. */
type Words = readonly [what: string, remedy?: string];

const KINDS_OF_ERROR: Record<string, Words> = {
  invalid_input: ['요청의 값을 읽을 수 없습니다.'],
  not_authenticated: ['로그인이 필요합니다.'],
  forbidden: ['이 작업을 할 권한이 없습니다.'],
  not_found: ['찾을 수 없습니다. 삭제되었을 수 있습니다.'],
  conflict: ['지금 상태에서는 할 수 없습니다.'],
  too_large: ['너무 큽니다.'],
  unsupported_format: ['받을 수 없는 형식입니다.'],
  validation_failed: ['내용에 잘못된 부분이 있습니다.'],
  too_many_requests: ['요청이 너무 많습니다.'],
  upstream_failed: ['모델 서버나 제공자가 잘못된 응답을 보냈습니다.'],
  unavailable: ['필요한 서비스에 연결할 수 없습니다.'],
  upstream_timeout: ['모델 서버나 제공자가 제때 응답하지 않았습니다.'],
  no_answer: ['API가 응답하지 않습니다.', 'API가 실행 중인지 확인한 뒤 다시 시도하세요.'],
  connection_broke: ['업로드 중에 연결이 끊어졌습니다.', '파일을 다시 올리면 멈춘 곳부터 이어집니다.'],
  upload_over: ['이 업로드는 이미 끝났거나 취소되었습니다.', '파일을 다시 올리세요.'],
  answer_broke_off: ['응답이 도중에 끊어졌습니다.', '메시지를 다시 보내세요.'],
};

const KINDS_OF_PROBLEM: Record<string, Words> = {
  bomb: ['풀었을 때 지나치게 커지는 파일입니다.', '실제 데이터를, 필요하면 더 작은 여러 파일로 올리세요.'],
  columns_differ: ['파일마다 열이 다릅니다.', '데이터 세트의 모든 파일에 같은 열을 두세요.'],
  delimiter: ['쉼표가 아닌 구분자를 쓴 파일입니다.', '셀을 쉼표로 구분해 저장하세요.'],
  duplicate_column: ['같은 이름의 열이 두 번 이상 있습니다.', '열마다 다른 이름을 붙이세요.'],
  empty_cell: ['비어 있으면 안 되는 셀이 비어 있습니다.', '값을 채우거나, 스키마에서 비어도 되는 열로 선언하세요.'],
  empty_header: ['이름이 없는 열이 있습니다.', '모든 열에 이름을 붙이세요.'],
  long_name: ['열 이름이 너무 깁니다.', '이름을 줄이세요.'],
  malformed_csv: ['CSV의 따옴표가 맞지 않아 여기서 읽기를 멈췄습니다.', '여는 따옴표마다 닫는 따옴표를 두고, 안쪽 따옴표는 두 번 쓰세요.'],
  malformed_json: ['이 줄은 올바른 JSON 객체가 아닙니다.', '한 줄에 JSON 객체 하나씩 쓰세요.'],
  missing_column: ['선언한 필수 열이 없습니다.', '그 열을 넣거나 스키마를 고치세요.'],
  mixed_formats: ['파일의 형식이 서로 다릅니다.', '한 가지 형식의 파일만 올리세요.'],
  mixed_types: ['한 열에 여러 유형의 값이 섞여 있습니다.', '열마다 한 가지 유형만 쓰세요.'],
  name_characters: ['열 이름에 제어 문자가 있습니다.', '글자, 숫자, 기호, 빈칸만 쓰세요.'],
  no_columns: ['파일에 열이 없습니다.', '행과 열이 있는 파일을 올리세요.'],
  no_files: ['데이터 세트에 파일이 없습니다.', '파일을 하나 이상 올리세요.'],
  no_header: ['파일에 머리글 행이 없습니다.', '열 이름을 적은 첫 행을 넣으세요.'],
  no_rows: ['파일에 행이 없습니다.', '행이 하나 이상 있는 파일을 올리세요.'],
  parser_failed: ['파일을 읽다가 실패했습니다. 손상되었거나, 보기보다 훨씬 큰 파일입니다.', '더 작고 단순한 파일로 다시 만드세요.'],
  pattern_name: ['여러 열을 뜻하는 이름의 열이 있습니다.', '열 이름을 바꾸세요.'],
  ragged_row: ['행의 셀 수가 머리글과 다릅니다.', '행마다 머리글과 같은 수의 셀을 두고, 쉼표나 줄바꿈이 든 셀은 따옴표로 묶으세요.'],
  schema: ['선언한 스키마에 맞지 않습니다.', '데이터를 선언한 스키마와 비교하세요.'],
  too_many_columns: ['열이 너무 많습니다.', '드문 속성은 JSON으로 한 열에 담으세요.'],
  unknown_column: ['선언한 스키마에 없는 열입니다.', '열을 빼거나 스키마에 선언하세요.'],
  unreadable: ['파일이 손상되었거나 잘렸습니다.', '파일을 다시 만들고, 올리기 전에 원본과 크기를 비교하세요.'],
  unsupported_type: ['검사할 수 없는 유형의 열입니다.', '글, 숫자, 참·거짓, 날짜, 목록, 구조체로 저장하고, 이진 내용은 다른 곳에 두세요.'],
  wrong_type: ['값이 선언한 유형과 다릅니다.', '값을 고치거나 스키마의 유형을 바꾸세요.'],
};

/** By language; English needs none. */
export const WORDS: Record<string, { errors: Record<string, Words>; problems: Record<string, Words> }> = {
  ko: { errors: KINDS_OF_ERROR, problems: { ...KINDS_OF_ERROR, ...KINDS_OF_PROBLEM } },
};

/** Tells what the server said in the reader's language; as the server said it where its code is not known. */
export function useSaid() {
  const { locale } = useI18n();
  return (family: 'errors' | 'problems', code: string, message: string, remedy = ''): Said => {
    const words = WORDS[locale.value]?.[family][code];
    if (!words) return { what: message, remedy, original: '' };
    const original = words[1] === undefined && remedy ? `${message} ${remedy}` : message;
    return { what: words[0], remedy: words[1] ?? '', original };
  };
}
