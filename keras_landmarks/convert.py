"""Converts annotated faces to a folder in the contest's form, which all other commands read.

--source may be

    .csv, .tsv       a table with a column of file names and columns of x and y (x0,y0 or
                     nose_x,nose_y or NoseX,NoseY, ...) in any order; or a table with a row per
                     point and a column `landmark`. Other columns are ignored, such as a box
                     (x,y,w,h) or points in another unit (nose_x_mm). Decimal commas are read where
                     semicolons or tabs separate cells
    .csv, .tsv       DeepLabCut's CollectedData_<scorer>.csv; each individual of a photo is a face
    .json            COCO keypoints, also as CVAT, Roboflow and SLEAP export them, and the faces of
                     COCO-WholeBody
    .json            Label Studio ("JSON" and "JSON-MIN"), labelme, VIA 2 (the VGG Image Annotator)
    .xml             "CVAT for images 1.1": skeletons, shapes of several points, or single points
    .h5              SLEAP's analysis file; the frames are photos whose names end with the number of
                     the frame, from 0
    .txt             a line per face with its path and numbers: WFLW, CelebA, MTFL, Menpo
    a folder         of .pts (300-W), .ljson (Menpo) or labelme's .json files, one per photo

The format is told by the name and the contents; --source_format overrides it. Points are named as
in the file. Annotation tools keep paths of their own to the photos: the longest end of such a path
that is a file below --photos is the photo.

Single points of Label Studio, labelme, VIA and CVAT are joined into faces: by Label Studio's parent
or relation, group_id in labelme and CVAT, an attribute `face` in VIA, or by the only rectangle that
holds the point; else a photo is one face. These programs keep no order of the points, so they are
in that of the layout.json under --data, or else of their names. Convert a next round of labels into
a folder with the first round's layout.json (copy it), or its points may come in another order.

A point without a place is missing: empty cells, NaN, null, outside (CVAT), v = 0 (COCO), or a label
that only other faces have; also points at exactly (0, 0) or (-1, -1), with a warning, if there are
several. A hidden one (v = 1, occluded) is an ordinary point. Missing points are written as empty
cells and counted. A face needs one point; x without y makes it invalid; a point
that all faces lack is an error, or a warning where --data has a layout or another split. The
likelihoods in DeepLabCut's predictions are not used: every point counts, so empty the cells of
those that should not.

Points are in pixels of the photo unless --points_unit says otherwise. Here (0, 0) is the centre of
the upper left pixel; CVAT, labelme, VIA and Label Studio count from its corner. Coordinates are
taken as they stand all the same, without half a pixel, and `landmarks --format` writes them so;
percent and shares are multiplied by the photo's size. If all coordinates are 0 to 1, or about 0 to
100 in larger photos, `convert` stops and asks for --points_unit. Numbers that enclose all other
points (a box) or always stay within 0 to 10 (attributes) are an error, and where points have no
names also numbers after each x and y (scores) and points far away from the others (a pose). If the
annotations state a size that the photo does not have, the face is rejected with both sizes; if most
faces extend beyond their photos, a warning says so.

Each face is cut out of its photo around its points, with black beyond the photo's edge. The points
take --face_share of the crop's sides, by default 0.6, about as in the contest; --face_share=0
keeps whole photos, encoded as JPEG again. Faces of one or two points are cut out by the
annotations' boxes; if there are no boxes, the photos are not cropped. A photo that is not cropped
must have only one face. A face is also rejected if it repeats an earlier face, or its photo is
missing.

Under --data it writes

    <split>/images, <split>/landmarks.csv   the faces, as `train` reads them
    <split>/sources.csv                     the photo of each face: a table of groups, for
                                            --validation_groups and --groups
    <split>/crops.csv                       the photo, the annotation (its id, group or individual,
                                            else its row) and the crop's upper left corner: add x0
                                            and y0 to a crop's points to get the photo's
    <split>/rejects.csv                     annotations that could not be used, if there are any
    layout.json                             the points' names, regions and mirror map, for --mirror
                                            and --layout, if they are known: from names with left
                                            and right, or of the contest's 971, 300-W's 68 and
                                            WFLW's 98 points if the faces agree with them

An existing layout.json is kept, and it is an error if another split has other points.

Examples:

    python -m keras_landmarks.convert --source=300w --data=faces --split=train
    python -m keras_landmarks.convert --source=annotations.json --photos=images --data=faces
    python -m keras_landmarks.train --data=faces --mirror=faces/layout.json --augment_online=mirror
"""

from pathlib import Path

from keras_landmarks import flags
from keras_landmarks.annotations.conversion import convert
from keras_landmarks.settings import ConversionSettings

FLAGS = flags.use("data", "split", "processes", ConversionSettings)


def main(_) -> dict:
    """Converts the annotations and returns the results of `convert`."""
    flags.require("source", "data")
    return convert(
        Path(FLAGS.source),
        Path(FLAGS.data),
        FLAGS.split,
        FLAGS.source_format,
        face_share=FLAGS.face_share,
        processes=FLAGS.processes,
        points_unit=FLAGS.points_unit,
        **flags.read_paths("photos"),
    )


if __name__ == "__main__":
    flags.run(main, split="train")
