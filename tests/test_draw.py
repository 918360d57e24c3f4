def test_command_prints_results(run, faces, tmp_path):
    out = tmp_path / "sheet.png"
    result = run("draw", f"--data={faces}", "--split=train", f"--out={out}", "--count=3")
    assert result.results == {"images": 3, "skipped": 0, "out": str(out)}
    assert out.read_bytes().startswith(b"\x89PNG")


def test_errors_are_one_line(run, faces, tmp_path):
    result = run("draw", f"--data={faces}", "--split=holiday", f"--out={tmp_path / 'sheet.png'}")
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "holiday" in result.stderr
