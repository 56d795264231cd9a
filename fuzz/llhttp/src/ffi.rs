//! The part of `llhttp.h` that is used, by hand.

use std::{
    ffi::{c_char, c_int, c_void},
    ptr,
};

pub(crate) const OK: c_int = 0;
pub(crate) const PAUSED: c_int = 21;
pub(crate) const PAUSED_UPGRADE: c_int = 22;

pub(crate) const REQUEST: c_int = 1;
pub(crate) const RESPONSE: c_int = 2;

pub(crate) const F_CHUNKED: u16 = 0x8;
pub(crate) const F_CONTENT_LENGTH: u16 = 0x20;
pub(crate) const F_TRANSFER_ENCODING: u16 = 0x200;

/// `llhttp_t`.
#[repr(C)]
#[allow(dead_code, reason = "the layout is llhttp's")]
pub(crate) struct Parser {
    index: i32,
    span_pos0: *mut c_void,
    span_cb0: *mut c_void,
    error: i32,
    reason: *const c_char,
    error_pos: *const c_char,
    pub(crate) data: *mut c_void,
    current: *mut c_void,
    pub(crate) content_length: u64,
    kind: u8,
    method: u8,
    pub(crate) http_major: u8,
    pub(crate) http_minor: u8,
    header_state: u8,
    lenient_flags: u16,
    pub(crate) upgrade: u8,
    finish: u8,
    pub(crate) flags: u16,
    pub(crate) status_code: u16,
    initial_message_completed: u8,
    settings: *mut c_void,
}

impl Parser {
    pub(crate) const ZERO: Self = Self {
        index: 0,
        span_pos0: ptr::null_mut(),
        span_cb0: ptr::null_mut(),
        error: 0,
        reason: ptr::null(),
        error_pos: ptr::null(),
        data: ptr::null_mut(),
        current: ptr::null_mut(),
        content_length: 0,
        kind: 0,
        method: 0,
        http_major: 0,
        http_minor: 0,
        header_state: 0,
        lenient_flags: 0,
        upgrade: 0,
        finish: 0,
        flags: 0,
        status_code: 0,
        initial_message_completed: 0,
        settings: ptr::null_mut(),
    };
}

type Event = Option<extern "C" fn(*mut Parser) -> c_int>;
type Span = Option<extern "C" fn(*mut Parser, *const c_char, usize) -> c_int>;

/// `llhttp_settings_t`.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) on_message_begin: Event,
    pub(crate) on_protocol: Span,
    pub(crate) on_url: Span,
    pub(crate) on_status: Span,
    pub(crate) on_method: Span,
    pub(crate) on_version: Span,
    pub(crate) on_header_field: Span,
    pub(crate) on_header_value: Span,
    pub(crate) on_chunk_extension_name: Span,
    pub(crate) on_chunk_extension_value: Span,
    pub(crate) on_headers_complete: Event,
    pub(crate) on_body: Span,
    pub(crate) on_message_complete: Event,
    pub(crate) on_protocol_complete: Event,
    pub(crate) on_url_complete: Event,
    pub(crate) on_status_complete: Event,
    pub(crate) on_method_complete: Event,
    pub(crate) on_version_complete: Event,
    pub(crate) on_header_field_complete: Event,
    pub(crate) on_header_value_complete: Event,
    pub(crate) on_chunk_extension_name_complete: Event,
    pub(crate) on_chunk_extension_value_complete: Event,
    pub(crate) on_chunk_header: Event,
    pub(crate) on_chunk_complete: Event,
    pub(crate) on_reset: Event,
}

unsafe extern "C" {
    pub(crate) fn llhttp_init(parser: *mut Parser, kind: c_int, settings: *const Settings);
    pub(crate) fn llhttp_execute(parser: *mut Parser, data: *const c_char, length: usize) -> c_int;
    pub(crate) fn llhttp_finish(parser: *mut Parser) -> c_int;
    pub(crate) fn llhttp_should_keep_alive(parser: *const Parser) -> c_int;
    pub(crate) fn llhttp_get_error_reason(parser: *const Parser) -> *const c_char;
    pub(crate) fn llhttp_get_error_pos(parser: *const Parser) -> *const c_char;
}
