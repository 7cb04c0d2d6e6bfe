"""Every documented error code is provoked by a test: a new code, or a test that goes, fails here."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

from cvpipe import errors
from cvpipe.api import problems

#: By code: a test that does what it is for, and looks whether it was told. Tests that hand an error in themselves, to
#: see what becomes of it, are no proof that anything tells it.
PROVOKED = {
    "address_refused": "tests/outside/test_rules.py::test_what_is_not_opened_is_not_called",
    "already_running": "tests/test_embedded.py::test_only_one_holds_the_lock_and_the_other_learns_who",
    "bad_dimensions": "tests/video/test_codes.py::test_what_is_wrong_with_a_file_has_a_code_and_a_message",
    "call_failed": "tests/engine/test_asking.py::test_a_call_that_failed_ends_the_run_where_the_stage_says_so",
    "checksum_mismatch": "tests/api/test_uploads.py::test_a_part_is_compared_with_its_checksum",
    "codec_not_allowed": "tests/video/test_scan.py::test_a_codec_outside_the_list_is_unsupported",
    "conflict": "tests/api/test_jobs.py::test_an_idempotency_key_used_for_another_request_is_a_conflict",
    "decode_timeout": "tests/video/test_decoders.py::test_a_decoder_that_hangs_is_ended_and_others_read_on",
    "decoder_crashed": "tests/video/test_decoders.py::test_a_killed_decoder_is_an_error_of_its_reading_alone",
    "decoder_unavailable": "tests/video/test_decoders.py::test_where_no_decoder_process_starts_it_is_told",
    "device_unavailable": "tests/inference/test_devices.py::test_cuda_that_is_not_there_is_refused",
    "encrypted": "tests/video/test_codes.py::test_what_is_wrong_with_a_file_has_a_code_and_a_message",
    "extra_missing": "tests/video/test_decoders.py::test_without_pyav_the_missing_extra_is_named",
    "forbidden": "tests/api/test_identity.py::test_nobody_gets_in_without_a_good_key_with_the_scope_and_the_tenant",
    "format_not_allowed": "tests/video/test_scan.py::test_what_only_calls_itself_mp4_is_refused",
    "frame_damaged": "tests/video/test_codes.py::test_a_damaged_frame_has_a_code_of_its_own",
    "frames_damaged": "tests/work/test_finish.py::test_frames_that_can_not_be_decoded_are_listed",
    "gpu_out_of_memory": "tests/inference/test_batcher.py"
    "::test_out_of_memory_with_one_picture_is_an_error_and_others_go_on",
    "input_changed": "tests/service/test_faults.py::test_a_file_that_changes_under_a_job_is_told",
    "internal": "tests/api/test_problems.py::test_a_bug_is_a_problem_with_an_id_and_without_a_word_of_the_inside",
    "invalid_model": "tests/inference/test_captioning.py::test_a_file_that_is_not_the_one_described_is_refused",
    "invalid_pipeline": "tests/api/test_jobs.py::test_a_wrong_request_is_refused_with_the_path_of_the_value",
    "invalid_request": "tests/api/test_query.py::test_every_route_refuses_a_parameter_that_it_does_not_know",
    "invalid_stage": "tests/stages/test_discovery.py::test_a_broken_or_doubled_stage_stops_the_process",
    "invalid_webhook": "tests/test_webhooks.py::test_what_does_not_verify_is_refused_with_its_reason",
    "lease_lost": "tests/store/test_store.py::test_a_worker_that_lost_its_lease_writes_nothing",
    "malformed_body": "tests/api/test_problems.py::test_a_body_that_is_no_json_request_is_a_problem",
    "media_truncated": "tests/video/test_scan.py::test_a_file_cut_before_its_table_is_truncated",
    "media_unreadable": "tests/test_engine.py::test_a_file_that_is_no_video_is_told_and_leaves_no_results",
    "method_not_allowed": "tests/api/test_problems.py::test_what_no_route_answers_is_a_problem_too",
    "model_crashed": "tests/modelfiles/test_codes.py::test_a_process_that_dies_over_a_file_is_told",
    "model_external_data": "tests/modelfiles/test_codes.py::test_weights_in_other_files_are_not_read",
    "model_loses_too_much": "tests/tuning/test_quantise.py"
    "::test_a_model_that_would_lose_too_much_is_not_saved_and_all_figures_are_told",
    "model_memory": "tests/modelfiles/test_codes.py::test_a_tensor_of_terabytes_is_not_made",
    "model_timeout": "tests/fuzz/test_models.py::test_a_loop_without_end_is_ended",
    "model_too_complex": "tests/modelfiles/test_codes.py::test_graphs_that_are_nested_too_deep_are_refused",
    "model_unreadable": "tests/api/test_models.py::test_a_hostile_model_is_refused_with_a_code",
    "model_unrecognised": "tests/modelfiles/test_add.py::test_outputs_that_nobody_reads_are_told",
    "model_unsupported": "tests/modelfiles/test_codes.py::test_an_operator_that_nobody_knows_is_told",
    "no_room_for_models": "tests/inference/test_budget.py::test_a_model_larger_than_the_limit_is_refused",
    "no_video_stream": "tests/video/test_facts.py::test_a_stream_that_is_no_video_is_refused",
    "not_acceptable": "tests/api/test_frames.py::test_the_form_of_the_answer_is_negotiated",
    "not_found": "tests/api/test_jobs.py::test_a_job_that_is_over_can_be_deleted_and_is_gone",
    "out_of_space": "tests/api/test_quotas.py::test_a_full_disk_takes_no_uploads_and_a_process_has_so_many_streams",
    "outside_unavailable": "tests/outside/test_tricks.py::test_where_nobody_listens_is_told_as_such",
    "picture_withheld": "tests/engine/test_outgoing.py::test_a_frame_that_nobody_looked_at_for_faces_is_not_sent",
    "pixel_format_unsupported": "tests/video/test_codes.py::test_pictures_that_can_not_be_converted_are_refused",
    "precondition_failed": "tests/api/test_uploads.py::test_what_is_wrong_with_a_part_is_told_and_changes_nothing",
    "quota_exceeded": "tests/api/test_quotas.py::test_requests_beyond_the_rate_are_told_when_to_come_again",
    "range_not_satisfiable": "tests/api/test_exports.py::test_a_part_that_is_not_there_is_a_problem",
    "stage_failed": "tests/cli/test_run.py::test_a_stage_that_raises_is_blamed_in_one_line",
    "store_unavailable": "tests/store/test_store.py::test_a_store_that_does_not_answer_says_so",
    "too_large": "tests/api/test_videos.py::test_a_file_over_the_limit_is_refused_while_it_arrives",
    "too_many_frames": "tests/video/test_scan.py::test_more_frames_than_allowed_are_refused",
    "too_many_pixels": "tests/video/test_scan.py::test_a_picture_larger_than_allowed_is_refused",
    "too_many_streams": "tests/video/test_codes.py::test_what_is_wrong_with_a_file_has_a_code_and_a_message",
    "too_much_memory": "tests/video/test_scan.py::test_more_memory_than_allowed_is_refused",
    "unauthenticated": "tests/api/test_identity.py"
    "::test_nobody_gets_in_without_a_good_key_with_the_scope_and_the_tenant",
    "unavailable": "tests/api/test_videos.py::test_a_disk_that_is_full_is_a_problem_to_try_again_after",
    "unsupported_media_type": "tests/api/test_videos.py::test_a_form_is_refused_with_the_way_to_do_it",
    "video_error": "tests/video/test_codes.py::test_what_is_wrong_with_a_file_has_a_code_and_a_message",
    "wait_timeout": "tests/client/test_following.py::test_wait_gives_up_in_time_though_comments_keep_the_stream_alive",
}

SKIPPED = {"skip", "skipif", "xfail"}


def kinds(cls: type[errors.CvpipeError] = errors.CvpipeError) -> Iterator[type[errors.CvpipeError]]:
    yield cls
    for sub in cls.__subclasses__():
        yield from kinds(sub)


def names(code: str) -> set[str]:
    """Of the classes that have a code."""
    return {cls.__name__ for cls in kinds() if cls.code == code and cls.__module__ == errors.__name__}


@cache
def parsed(root: Path, file: str) -> ast.Module:
    return ast.parse((root / file).read_text(encoding="utf-8"))


def told(node: ast.AST, code: str) -> bool:
    """Whether a code, or the class that has it, is named."""
    classes = names(code)
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            words = part.value
            if words in {code, f"/problems/{code}"} or any(re.search(rf"\b{name}\b", words) for name in classes):
                return True
        if (isinstance(part, ast.Name) and part.id in classes) or (
            isinstance(part, ast.Attribute) and part.attr in classes
        ):
            return True
    return False


def judged(test: ast.FunctionDef) -> list[ast.AST]:
    """What a test compares or wants raised."""
    return [
        part
        for part in ast.walk(test)
        if isinstance(part, ast.Assert)
        or (isinstance(part, ast.Call) and ast.unparse(part.func).split(".")[-1].startswith(("raises", "assert_")))
    ]


def test_the_codes_are_those_that_are_raised_and_those_that_are_documented(root: Path) -> None:
    document = yaml.safe_load((root / "openapi" / "cvpipe.v1.yaml").read_text(encoding="utf-8"))
    documented = set(document["components"]["examples"])
    assert documented == set(problems.TYPES)
    raised = {cls.code for cls in kinds() if cls.__module__ == errors.__name__}
    assert set(PROVOKED) == documented | raised


@pytest.mark.parametrize("code", sorted(PROVOKED))
def test_a_code_is_provoked_by_a_test_that_looks_for_it(code: str, root: Path) -> None:
    file, _, name = PROVOKED[code].partition("::")
    module = parsed(root, file)
    tests = [part for part in module.body if isinstance(part, ast.FunctionDef) and part.name == name]
    assert len(tests) == 1, f"there is no test {PROVOKED[code]}"
    (test,) = tests
    marks = {ast.unparse(mark).split("(")[0].split(".")[-1] for mark in test.decorator_list}
    assert not marks & SKIPPED
    looks = judged(test)
    assert looks, f"{PROVOKED[code]} looks for nothing"
    # Named where it is compared; or in the rows that the test gets as its parameters, which may be a table of the file.
    rows: list[ast.AST] = [*test.decorator_list]
    named = {part.id for row in [*rows, test] for part in ast.walk(row) if isinstance(part, ast.Name)}
    for part in module.body:
        if isinstance(part, ast.Assign | ast.AnnAssign) and part.value is not None:
            targets = part.targets if isinstance(part, ast.Assign) else [part.target]
            if any(isinstance(target, ast.Name) and target.id in named for target in targets):
                rows.append(part.value)
    assert any(told(part, code) for part in [*looks, *rows]), f"{PROVOKED[code]} does not look for {code!r}"
