from keras_landmarks.utils.seeding import sample_seed


def test_seed_depends_on_all_numbers_and_their_order():
    seeds = [sample_seed(*numbers) for numbers in ((1, 2), (2, 1), (1, 3))]
    assert len(set(seeds)) == 3
    assert seeds[0] == sample_seed(1, 2)
    assert all(0 <= seed < 2**32 for seed in seeds)
