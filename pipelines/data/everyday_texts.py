"""Plain everyday sentences, written by hand for this project: what no training text looks like.

`evaluate` scores them and the card reports them apart; nothing is trained, tuned or chosen on them.
`export` and `import` also use them as texts to compare two forms of a model on. Reviews, support
tickets, negation and contrast, 20 of each label.
"""

from __future__ import annotations

POSITIVE_SENTENCES = (
    "I love this phone",
    "Not bad at all",
    "The support team answered within minutes and fixed everything.",
    "Best coffee in town, and the staff know my name.",
    "I was sceptical at first, but it turned out great.",
    "It arrived a day early and works perfectly.",
    "Thank you so much for sorting out my refund so quickly!",
    "The room was small, but spotless, quiet and worth every penny.",
    "I can't recommend this plumber highly enough.",
    "My kids have played with it every day since we got it.",
    "The update finally made the app fast again.",
    "It is not cheap, but you get what you pay for.",
    "No complaints whatsoever.",
    "She explained every step patiently and I felt in good hands.",
    "The book kept me awake until three in the morning; I could not put it down.",
    "Despite the rain, we had a wonderful day.",
    "Installation took five minutes and everything just worked.",
    "I have never been disappointed by this restaurant.",
    "Great value for money, would buy again.",
    "The new colleague is a real help to the whole team.",
)

NEGATIVE_SENTENCES = (
    "The delivery was late and the box was broken.",
    "I would not recommend this to anyone",
    "The food was okay but the service ruined the evening",
    "I have been waiting for an answer for three weeks.",
    "The screen went black after two days.",
    "It looks nice, but it does not work.",
    "You charged my card twice and nobody answers the phone.",
    "Not worth the money.",
    "The hotel was nothing like the pictures; the bathroom was filthy.",
    "I expected better from a company this size.",
    "The app crashes every time I try to log in.",
    "What a waste of an afternoon.",
    "The plot had promise, yet the ending was a letdown.",
    "My parcel never arrived and the seller will not refund me.",
    "He was rude from the moment we walked in.",
    "The battery hardly lasts two hours.",
    "I wanted to like this book, but I gave up after fifty pages.",
    "The soup was cold and the bread was stale.",
    "I am cancelling my subscription.",
    "Nobody told us that the pool would be closed all week.",
)
