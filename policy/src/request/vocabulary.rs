//! Words of the protocol. They carry nothing, so they are not scanned: a blocked term `user` must not block every chat.
//!
//! Only exact words under the keys where the protocol has them are left out; anything else under the same keys is text.

/// Whether `value` under `key` is a word of the protocol.
pub(crate) fn is_word(key: &str, value: &str) -> bool {
    match key {
        "role" => is_role(value),
        "type" => is_type(value),
        "object" => matches!(value, "embedding" | "list" | "chat.completion" | "response" | "realtime.item"),
        "detail" => matches!(value, "auto" | "low" | "high" | "original"),
        "format" => matches!(
            value,
            "wav"
                | "mp3"
                | "flac"
                | "opus"
                | "pcm16"
                | "text"
                | "json_object"
                | "json_schema"
                | "date"
                | "date-time"
                | "time"
                | "email"
                | "uri"
                | "uuid"
                | "hostname"
                | "ipv4"
                | "ipv6"
                | "grammar"
        ),
        "encoding_format" => matches!(value, "float" | "base64"),
        "tool_choice" | "function_call" | "mode" => matches!(value, "auto" | "none" | "required" | "any"),
        "service_tier" => matches!(value, "auto" | "default" | "flex" | "scale" | "priority"),
        "reasoning_effort" | "effort" | "verbosity" => {
            matches!(value, "none" | "minimal" | "low" | "medium" | "high" | "xhigh" | "max")
        }
        "status" => matches!(value, "in_progress" | "completed" | "incomplete" | "failed"),
        "truncation" => matches!(value, "auto" | "disabled"),
        "summary" | "generate_summary" => matches!(value, "auto" | "concise" | "detailed"),
        "modalities" => matches!(value, "text" | "audio" | "image"),
        _ => false,
    }
}

/// The roles of messages.
pub(super) fn is_role(value: &str) -> bool {
    matches!(value, "system" | "developer" | "user" | "assistant" | "tool" | "function")
}

fn is_type(value: &str) -> bool {
    matches!(
        value,
        // JSON Schema.
        "object" | "array" | "string" | "number" | "integer" | "boolean" | "null"
        // Parts of messages.
        | "text" | "image_url" | "input_audio" | "file" | "refusal" | "reasoning" | "thinking" | "redacted_thinking"
        | "summary_text" | "summary_encrypted_text" | "reasoning_text" | "input_text" | "input_image" | "input_file"
        | "output_text" | "image" | "document" | "base64" | "url" | "content" | "ephemeral" | "url_citation"
        | "file_citation" | "tool_use" | "tool_result"
        // Tools and their calls.
        | "function" | "custom" | "grammar" | "mcp" | "web_search" | "web_search_preview" | "file_search"
        | "code_interpreter" | "image_generation" | "shell" | "local_shell" | "computer_use_preview" | "apply_patch"
        | "allowed_tools" | "auto"
        // Items of responses.
        | "message" | "function_call" | "function_call_output" | "custom_tool_call" | "custom_tool_call_output"
        | "item_reference" | "mcp_call" | "mcp_list_tools" | "mcp_approval_request" | "mcp_approval_response"
        | "web_search_call" | "file_search_call" | "code_interpreter_call" | "image_generation_call" | "computer_call"
        | "computer_call_output" | "local_shell_call" | "local_shell_call_output" | "shell_call"
        | "shell_call_output" | "apply_patch_call" | "apply_patch_call_output" | "compaction"
        // Formats and switches.
        | "json_object" | "json_schema" | "enabled" | "disabled" | "adaptive"
    )
}

/// Whether a key belongs to the protocol or to JSON Schema, and so carries nothing.
pub(crate) fn is_known_key(key: &str) -> bool {
    matches!(
        key,
        // Bodies.
        "model" | "messages" | "input" | "prompt" | "suffix" | "instructions" | "stream" | "stream_options"
        | "include_usage" | "include_obfuscation" | "n" | "best_of" | "echo" | "max_tokens" | "max_completion_tokens"
        | "max_output_tokens" | "max_new_tokens" | "max_tool_calls" | "temperature" | "top_p" | "top_k" | "min_p"
        | "stop" | "seed" | "logprobs" | "top_logprobs" | "logit_bias" | "presence_penalty" | "frequency_penalty"
        | "repetition_penalty" | "tools" | "tool_choice" | "parallel_tool_calls" | "functions" | "function_call"
        | "response_format" | "user" | "metadata" | "store" | "service_tier" | "reasoning" | "reasoning_effort"
        | "effort" | "generate_summary" | "verbosity" | "modalities" | "audio" | "prediction" | "web_search_options"
        | "safety_identifier" | "prompt_cache_key" | "prompt_cache_retention" | "dimensions" | "encoding_format"
        | "instruction" | "previous_response_id" | "conversation" | "include" | "truncation" | "background" | "text"
        | "extra_params" | "usage_context" | "client_request_id" | "databricks_options" | "return_trace"
        | "custom_inputs" | "thinking" | "budget_tokens" | "cache_control" | "context_management"
        // Messages and parts.
        | "role" | "content" | "name" | "tool_calls" | "tool_call_id" | "refusal" | "reasoning_content"
        | "reasoning_details" | "annotations" | "type" | "id" | "index" | "function" | "custom" | "arguments"
        | "image_url" | "url" | "detail" | "input_audio" | "data" | "format" | "file" | "file_data" | "file_id"
        | "file_url" | "filename" | "summary" | "signature" | "encrypted_content" | "status" | "call_id" | "output"
        | "phase" | "source" | "media_type" | "title" | "context" | "citations" | "object"
        // Tools and schemas.
        | "description" | "parameters" | "strict" | "properties" | "required" | "additionalProperties" | "items"
        | "enum" | "const" | "default" | "examples" | "minimum" | "maximum" | "exclusiveMinimum"
        | "exclusiveMaximum" | "multipleOf" | "minLength" | "maxLength" | "minItems" | "maxItems" | "uniqueItems"
        | "minProperties" | "maxProperties" | "pattern" | "patternProperties" | "propertyNames" | "anyOf" | "allOf"
        | "oneOf" | "not" | "if" | "then" | "else" | "$ref" | "$defs" | "$schema" | "$id" | "definitions"
        | "nullable" | "schema" | "json_schema" | "syntax" | "definition" | "grammar" | "server_label" | "server_url"
        | "server_description" | "headers" | "allowed_tools" | "require_approval" | "tool_use_id" | "mode"
    )
}
