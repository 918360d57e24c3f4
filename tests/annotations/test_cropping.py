from keras_landmarks.annotations.cropping import region_around


def test_box_takes_its_share_of_region():
    # 4 x 6 px in 8 x 12 px
    assert region_around([10, 8, 13, 13], 0.5) == (7, 4, 15, 16)


def test_flat_box_counts_as_half_as_high():
    assert region_around([10, 20, 29, 20], 0.5) == (-1, 10, 39, 30)
