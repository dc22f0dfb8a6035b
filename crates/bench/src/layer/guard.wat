;; Lets nothing pass without `x-token`; tells the next handler who it is, and the client that it was guarded.
(module
  (import "http_handler" "get_header_values"
    (func $get_header_values (param i32 i32 i32 i32 i32) (result i64)))
  (import "http_handler" "set_header_value" (func $set_header_value (param i32 i32 i32 i32 i32)))
  (import "http_handler" "set_status_code" (func $set_status_code (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x-token")
  (data (i32.const 8) "x-user")
  (data (i32.const 16) "me")
  (data (i32.const 24) "x-guarded")
  (data (i32.const 40) "1")
  (func (export "handle_request") (result i64)
    (call $get_header_values
      (i32.const 0) (i32.const 0) (i32.const 7) (i32.const 64) (i32.const 64))
    (if (i64.eqz) (then
      (call $set_status_code (i32.const 401))
      (return (i64.const 0))))
    (call $set_header_value
      (i32.const 0) (i32.const 8) (i32.const 6) (i32.const 16) (i32.const 2))
    (call $set_header_value
      (i32.const 1) (i32.const 24) (i32.const 9) (i32.const 40) (i32.const 1))
    (i64.const 1))
  (func (export "handle_response") (param $ctx i32) (param $error i32)))
