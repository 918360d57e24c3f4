import cv2
import numpy as np


def test_command_writes_what_train_reads(run, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    assert cv2.imwrite(str(photos / "a.jpg"), np.zeros((120, 200, 3), np.uint8))
    source = photos / "points.csv"
    rows = ["a.jpg,100,60,80,40,110,70", "gone.jpg,1,1,2,2,3,3", "a.jpg,100,60,90,50,190,110"]
    source.write_text("image,nose_x,nose_y,left_x,left_y,right_x,right_y\n" + "\n".join(rows))
    arguments = [f"--source={source}", f"--data={tmp_path / 'data'}", "--processes=1"]
    done = run("convert", *arguments)
    assert done.results["faces"] == 2
    assert "faces that cannot be used: 1 " in done.stderr
    assert (tmp_path / "data" / "train" / "landmarks.csv").exists()
